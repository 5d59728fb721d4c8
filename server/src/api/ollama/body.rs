//! Reading a body the way Ollama does: JSON whatever it is declared as, for half of its users send it with `curl -d`.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::OllamaError;
use crate::api::Api;
use crate::api::body::{check_content_type, parse, read};

/// A body of JSON that is an object with the fields of `T`, under any content type or none.
pub(crate) struct AnyJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for AnyJson<T> {
    type Rejection = OllamaError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, OllamaError> {
        check_site(request.headers())?;
        let bytes = read(request.into_body(), api.app.limits.body_bytes_max).await?;
        if bytes.is_empty() {
            return Err(OllamaError::bad_request("missing request body"));
        }
        Ok(AnyJson(parse(&bytes)?))
    }
}

/// A browser asks before a foreign page may send JSON that is declared as such; a form or plain text it lets pass. So
/// what comes from a foreign page must be declared, or nobody would have been asked.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), OllamaError> {
    let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_foreign && check_content_type(headers).is_err() {
        return Err(OllamaError::Own {
            status: StatusCode::FORBIDDEN,
            message: "a page of another site must send the header `Content-Type: application/json`".to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_foreign_page_cannot_send_what_no_browser_asks_about() {
        let check = |given: &[(&'static str, &'static str)], is_taken: bool| {
            let named = given.iter().map(|(name, value)| {
                let name = name.parse::<axum::http::HeaderName>().unwrap();
                (name, HeaderValue::from_static(value))
            });
            assert_eq!(check_site(&HeaderMap::from_iter(named)).is_ok(), is_taken, "{given:?}");
        };
        check(&[], true);
        check(&[("content-type", "text/plain")], true);
        check(
            &[("content-type", "text/plain"), ("sec-fetch-site", "same-origin")],
            true,
        );
        check(&[("sec-fetch-site", "cross-site")], false);
        check(
            &[("content-type", "text/plain"), ("sec-fetch-site", "cross-site")],
            false,
        );
        check(
            &[("content-type", "application/json"), ("sec-fetch-site", "cross-site")],
            true,
        );
    }
}
