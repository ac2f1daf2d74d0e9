//! A connection that is given up once its client takes nothing for too long.
//!
//! Without it, a client that stops reading would keep its place until it is switched off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::places::Pulse;

/// A connection whose writes must make progress.
pub(super) struct Stall<C> {
    connection: C,
    limit: Duration,
    since: Pin<Box<Sleep>>,
    waiting: bool,
    pulse: Pulse,
}

impl<C> Stall<C> {
    /// `connection`, given up after it took nothing for `limit`. The `pulse` beats when it takes something.
    pub(super) fn new(connection: C, limit: Duration, pulse: Pulse) -> Self {
        Self {
            connection,
            limit,
            since: Box::pin(sleep(limit)),
            waiting: false,
            pulse,
        }
    }

    fn hear(&self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(1..))) {
            self.pulse.beat();
        }
    }

    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = false;
            return outcome;
        }
        if !self.waiting {
            self.waiting = true;
            self.since.as_mut().reset(Instant::now() + self.limit);
        }
        if self.since.as_mut().poll(context).is_ready() {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing");
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Stall<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Stall<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.hear(&outcome);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection).poll_write_vectored(context, slices);
        self.hear(&outcome);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.connection).poll_flush(context);
        self.judge(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.connection).poll_shutdown(context);
        self.judge(context, outcome)
    }
}
