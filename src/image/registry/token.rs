//! Who we are to a registry: a password with every request, or access tokens from a token server.
//!
//! A token server gets either user and password, or a refresh token ("identity token"), and only
//! what `places` permits is one. Tokens are kept per scope as long as the server says.
//!
//! Truth: distribution's "Token Authentication Specification" and "OAuth2 Token Authentication"
//! (`docs/content/spec/auth/{token,oauth}.md` at 01b4555 and 5e75227). The challenge is that of
//! `/v2/`, as with containers/image: some registries have none elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::Connection;
use super::client::Reach;
use super::failure::Failure;
use super::places::{Purpose, same_origin};
use super::scope::Scope;
use super::secret::Secret;

/// Most bytes of an answer with a token, as in containers/image (`internal/iolimits` at df7e80d).
const TOKEN_BYTES_MAX: u64 = 1 << 20;

/// How long a token is good at least, whatever its server says.
const TOKEN_SECONDS_MIN: u64 = 60;

/// How long a token is kept at most.
const TOKEN_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Most bytes of the answer to `/v2/`, of which only the head matters.
const PING_BYTES_MAX: u64 = 4 << 10;

/// What is known of how to sign in.
#[derive(Default)]
pub(super) struct Session {
    challenge: Option<Challenge>,
    tokens: BTreeMap<Scope, Token>,
}

struct Token {
    value: HeaderValue,
    until: Instant,
}

/// What goes with a request.
pub(super) struct Pass {
    header: Option<HeaderValue>,
    /// Whether it is a token that was not got just now.
    cached: bool,
}

impl Pass {
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    fn fresh(header: Option<HeaderValue>) -> Self {
        Self {
            header,
            cached: false,
        }
    }
}

impl Connection {
    /// What goes with a request; waits for a token if one is needed.
    pub(super) async fn pass(&self, scope: &Scope) -> Result<Pass, Failure> {
        let mut session = self.session.lock().await;
        let challenge = match &session.challenge {
            Some(challenge) => challenge.clone(),
            None => {
                let challenge = self.ping().await?;
                session.challenge = Some(challenge.clone());
                challenge
            }
        };
        let (realm, service) = match (challenge, &self.login.secret) {
            (Challenge::Bearer { realm, service }, _) => (realm, service),
            (Challenge::Basic, Some(Secret::Basic(user, password))) => {
                return Ok(Pass::fresh(Some(basic(user, password))));
            }
            (Challenge::Basic, Some(Secret::Identity(_))) => {
                return Err(Failure::Answer("no way to use an identity token".into()));
            }
            (Challenge::Basic | Challenge::Nothing, _) => return Ok(Pass::fresh(None)),
        };
        if let Some(token) = session.tokens.get(scope)
            && token.until > Instant::now()
        {
            return Ok(Pass {
                header: Some(token.value.clone()),
                cached: true,
            });
        }
        let token = self.token(&realm, service.as_deref(), scope).await?;
        let value = token.value.clone();
        session.tokens.insert(scope.clone(), token);
        Ok(Pass::fresh(Some(value)))
    }

    /// Whether asking again as somebody new may help after a refusal by `url`.
    pub(super) async fn renew(&self, pass: &Pass, url: &Url, headers: &HeaderMap) -> bool {
        if !same_origin(url, &self.base) {
            return false;
        }
        let mut session = self.session.lock().await;
        if pass.cached {
            // Somebody else may have put a new one there already.
            session
                .tokens
                .retain(|_, token| Some(&token.value) != pass.header());
            return true;
        }
        match Challenge::find(headers) {
            // Some registries want nothing for `/v2/`.
            Challenge::Nothing => false,
            _ if session.challenge != Some(Challenge::Nothing) => false,
            challenge => {
                session.challenge = Some(challenge);
                true
            }
        }
    }

    /// Throws all tokens away; false if there are none.
    pub(super) async fn forget_tokens(&self) -> bool {
        let mut session = self.session.lock().await;
        let any = !session.tokens.is_empty();
        session.tokens.clear();
        any
    }

    /// How the registry wants to be told who we are.
    async fn ping(&self) -> Result<Challenge, Failure> {
        let url = format!("{}v2/", self.base);
        let request = self.http.get(url).build().map_err(Failure::from_request)?;
        let answer = self.call(request, None, Reach::Anywhere, PING_BYTES_MAX);
        let answer = answer.await?;
        let found = Challenge::find(&answer.headers);
        // One in trouble may leave it out.
        let status = answer.status;
        if found == Challenge::Nothing
            && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS)
        {
            answer.expect(StatusCode::OK)?;
        }
        Ok(found)
    }

    /// Gets a token.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &Scope,
    ) -> Result<Token, Failure> {
        let mut url = Url::parse(realm)
            .map_err(|_| Failure::Answer("a token server with a malformed address".into()))?;
        self.places.permit(&url, Purpose::Tokens)?;
        let service = service.map(|service| ("service", service));
        let scopes = scope.parts().join(" ");
        let (request, authorization) = match &self.login.secret {
            Some(Secret::Identity(refresh)) => {
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("refresh_token", refresh),
                    ("client_id", env!("CARGO_PKG_NAME")),
                    ("scope", &scopes),
                ];
                form.extend(service);
                (self.http.post(url).form(&form), None)
            }
            other => {
                let scopes = scope.parts().iter().map(|scope| ("scope", scope.as_str()));
                url.query_pairs_mut().extend_pairs(scopes.chain(service));
                let authorization = match other {
                    Some(Secret::Basic(user, password)) => Some(basic(user, password)),
                    _ => None,
                };
                (self.http.get(url), authorization)
            }
        };
        let request = request.build().map_err(Failure::from_request)?;
        let sent = Instant::now();
        let answer = self.call(
            request,
            authorization.as_ref(),
            Reach::SameServer,
            TOKEN_BYTES_MAX,
        );
        let answer = answer.await.map_err(Failure::of_token_server)?;
        let answer = answer
            .expect(StatusCode::OK)
            .map_err(Failure::of_token_server)?;
        let malformed = || Failure::Answer("a token that is malformed".into());
        let text = answer.body.whole().ok_or_else(malformed)?;
        let reply: Reply = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let seconds = reply.expires_in.as_u64().unwrap_or(0);
        let seconds = seconds.clamp(TOKEN_SECONDS_MIN, TOKEN_SECONDS_MAX);
        let words = [reply.token, reply.access_token];
        let word = words.into_iter().flatten().find(|word| !word.is_empty());
        let bearer = format!("Bearer {}", word.ok_or_else(malformed)?);
        Ok(Token {
            value: secret(bearer).ok_or_else(malformed)?,
            until: sent + Duration::from_secs(seconds),
        })
    }
}

/// What a token server answers; the older word for the token is the one that all know.
#[derive(Deserialize)]
struct Reply {
    token: Option<String>,
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Value,
}

/// User and password as a header, RFC 7617.
fn basic(user: &str, password: &str) -> HeaderValue {
    let word = STANDARD.encode(format!("{user}:{password}"));
    secret(format!("Basic {word}")).expect("base64 is fit for headers")
}

/// A value of a header that is not shown.
fn secret(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a registry says about how to prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    /// Nothing, or nothing that we know.
    Nothing,
    /// User and password with every request.
    Basic,
    /// Tokens of a token server: `Bearer realm="…",service="…"`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// The best of several: whoever gives tokens out gets no password with every request.
    fn find(headers: &HeaderMap) -> Self {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter();
        let all: Vec<Self> = texts
            .filter_map(|value| value.to_str().ok())
            .filter_map(Self::parse)
            .collect();
        let bearer = all.iter().find(|one| matches!(one, Self::Bearer { .. }));
        bearer.or(all.first()).cloned().unwrap_or(Self::Nothing)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        while let Some((key, value)) = rest.split_once('=') {
            // Values are quoted, and may have commas in them; RFC 9110 §5.6.4.
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            match key.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => (),
            }
            rest = after;
        }
        let realm = realm?;
        Some(Self::Bearer { realm, service })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

    use super::{Challenge, basic, secret};

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
            })
        };
        for (text, expected) in [
            (
                r#"Bearer realm="https://a.example/token",service="a, b",scope="x:y:pull,push""#,
                bearer("https://a.example/token", Some("a, b")),
            ),
            (
                r#"bearer service=a, Realm="http://localhost/t""#,
                bearer("http://localhost/t", Some("a")),
            ),
            (
                r#"Bearer realm="https://a.example/""#,
                bearer("https://a.example/", None),
            ),
            // Refused when a token is needed, not taken for something else.
            (
                r#"Bearer realm="file:///etc/passwd""#,
                bearer("file:///etc/passwd", None),
            ),
            (r#"Bearer realm="https://open"#, None),
            (
                r#"Basic realm="https://a.example/""#,
                Some(Challenge::Basic),
            ),
            ("basic", Some(Challenge::Basic)),
            ("Negotiate", None),
            ("Bearer", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn tokens_are_preferred_to_passwords() {
        let mut headers = HeaderMap::new();
        assert_eq!(Challenge::find(&headers), Challenge::Nothing);
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        assert_eq!(Challenge::find(&headers), Challenge::Nothing);
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=x"));
        assert_eq!(Challenge::find(&headers), Challenge::Basic);
        let bearer = HeaderValue::from_static("Bearer realm=x");
        headers.append(WWW_AUTHENTICATE, bearer);
        assert!(matches!(
            Challenge::find(&headers),
            Challenge::Bearer { .. }
        ));
    }

    #[test]
    fn secrets_are_not_shown() {
        let header = basic("user", "password");
        assert_eq!(header.as_bytes(), b"Basic dXNlcjpwYXNzd29yZA==");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert!(secret("Bearer a\r\nb".into()).is_none());
    }
}
