//! Reading a request's body: the content type, the size, the encoding, the JSON.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::Api;
use super::error::ApiError;
use super::wire::given::shown;
use super::wire::{Field, Object};

/// A body of JSON that is an object with the fields of `T`.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        let bytes = read(request.into_body(), api.app.limits.body_bytes_max).await?;
        parse(&bytes).map(JsonBody)
    }
}

/// JSON must be declared: a browser lets any page send a form or plain text here unasked, but not this.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(declared) = headers.get(header::CONTENT_TYPE) else {
        return Err(ApiError::ContentType {
            found: "missing".to_owned(),
        });
    };
    let declared = String::from_utf8_lossy(declared.as_bytes());
    let (essence, parameters) = declared.split_once(';').unwrap_or((&declared, ""));
    let charset_is_utf8 = parameters.split(';').all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    if essence.trim().eq_ignore_ascii_case("application/json") && charset_is_utf8 {
        return Ok(());
    }
    Err(ApiError::ContentType {
        found: shown(&declared),
    })
}

/// Reads a body of at most `limit_bytes`.
///
/// # Errors
/// `BodyTooLarge`, or `BodyCut` where it did not arrive.
pub(crate) async fn read(body: Body, limit_bytes: usize) -> Result<Bytes, ApiError> {
    to_bytes(body, limit_bytes).await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            if error.is::<LengthLimitError>() {
                return ApiError::BodyTooLarge { limit_bytes };
            }
            source = error.source();
        }
        ApiError::BodyCut
    })
}

/// Parses one JSON object, with or without a byte order mark before it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(ApiError::Malformed("body is empty: send a JSON object".to_owned()));
    }
    match serde_json::from_slice::<Field<Object<T>>>(bytes) {
        Ok(Field::Value(Object(value))) => Ok(value),
        Ok(Field::Other(given)) => Err(ApiError::Malformed(format!("body is {given}: send a JSON object"))),
        Err(error) => Err(ApiError::Malformed(format!("body is not valid JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::api::wire::request::GenerateRequest;

    #[test]
    fn json_with_or_without_utf8_charset_is_taken_and_nothing_else() {
        let check = |declared: &'static str, is_taken: bool| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(declared))]);
            assert_eq!(check_content_type(&headers).is_ok(), is_taken, "{declared}");
        };
        check("application/json", true);
        check("Application/JSON; charset=UTF-8", true);
        check("application/json;charset=\"utf-8\"; v=1", true);
        check("application/json; charset=latin1", false);
        check("application/x-www-form-urlencoded", false);
        check("text/plain", false);
        check("application/jsonp", false);
        let missing = check_content_type(&HeaderMap::new()).unwrap_err().to_string();
        assert!(
            missing.contains("missing") && missing.contains("`Content-Type: application/json`"),
            "{missing}"
        );
    }

    /// What the refusal of a body says.
    fn refusal(body: &[u8]) -> String {
        match parse::<GenerateRequest>(body) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => {
                assert_eq!(error.status(), 400);
                assert!(error.to_json().len() <= 1024);
                error.to_string()
            }
        }
    }

    #[test]
    fn malformed_bodies_are_refused_with_their_place() {
        let check = |body: &[u8], expected: &str| {
            let found = refusal(body);
            assert!(
                found.contains(expected),
                "{:?}: {found}, not {expected}",
                String::from_utf8_lossy(body)
            );
        };
        check(b"", "body is empty");
        check(b" ", "line 1 column 1");
        check(b"{\"n\":}", "line 1 column 6");
        check(b"{\n\"n\": 1,\n}", "line 3 column 1");
        check(b"{} {}", "trailing characters at line 1 column 4");
        check(b"{\"n\":1,\"n\":2}", "duplicate field `n`");
        check(b"{\"seed\":1e400}", "number out of range");
        check(b"{\"model\":\"\xff\"}", "line 1 column");
        check(b"\xff\xfe{\x00}\x00", "line 1 column 1");
        check(b"{\"model\":\"\\ud800\"}", "line 1 column");
        check(b"{\"model\":\"a\nb\"}", "control character");
        check(b"{'n':1}", "line 1 column 2");
        check(b"{\"n\":01}", "line 1 column");
        check(b"[]", "a list of 0");
        check(b"\"text\"", "the text \"text\"");
        check(b"null", "null");
        check("[".repeat(100_000).as_bytes(), "line 1 column");
    }

    #[test]
    fn unknown_fields_byte_order_marks_and_deep_unknowns_are_let_pass() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for body in [
            "{}",
            "\u{feff}{}",
            "{\"unknown\":{\"a\":[1]}}",
            " { } ",
            "{\"model\":\"\\u0000\"}",
            &deep,
        ] {
            assert_eq!(refusal(body.as_bytes()), "accepted");
        }
    }
}
