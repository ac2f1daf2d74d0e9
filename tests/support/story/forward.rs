//! A port of a pod, forwarded as the kubelet does it: one connection for each WebSocket, data in channel 0 and
//! errors in channel 1, each of which begins with the port. Truth: kubernetes
//! staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go@25d732ce.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

const PROTOCOL: &str = "v4.channel.k8s.io";
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// The answer to a request to forward `port`, whose connections go to `target`; without one, nobody listens there.
pub(super) fn answer(
    mut request: Request<Incoming>,
    port: u16,
    target: Option<SocketAddr>,
) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let headers = request.headers();
    let text = |name| headers[name].to_str().unwrap();
    let wanted = text(header::SEC_WEBSOCKET_PROTOCOL);
    assert!(
        wanted.split(", ").any(|wanted| wanted == PROTOCOL),
        "{wanted}"
    );
    let key = derive_accept_key(text(header::SEC_WEBSOCKET_KEY).as_bytes());
    tokio::spawn(serve(upgrade, port, target));
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .body(Body::empty())
        .unwrap()
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    Message::binary([&[channel], bytes].concat())
}

async fn serve(upgrade: OnUpgrade, port: u16, target: Option<SocketAddr>) {
    let stream = TokioIo::new(upgrade.await.unwrap());
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let (mut sink, mut source) = socket.split();
    for channel in [DATA, ERROR] {
        sink.send(message(channel, &port.to_le_bytes()))
            .await
            .unwrap();
    }
    let connected = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(pod) = connected else {
        let text = format!("error forwarding port {port} to pod: connection refused");
        let _ = sink.send(message(ERROR, text.as_bytes())).await;
        let _ = sink.close().await;
        return;
    };
    let (mut from_pod, mut to_pod) = pod.into_split();
    tokio::spawn(async move {
        while let Some(Ok(told)) = source.next().await {
            let bytes = told.into_data();
            let Some((&DATA, bytes)) = bytes.split_first() else {
                continue;
            };
            if to_pod.write_all(bytes).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 32 << 10];
    while let Ok(read @ 1..) = from_pod.read(&mut buffer).await {
        if sink.send(message(DATA, &buffer[..read])).await.is_err() {
            break;
        }
    }
    let _ = sink.close().await;
}
