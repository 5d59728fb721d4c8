//! The shape of an error's body: each API that is spoken here has its own, and its clients read no other.

/// In which shape the one who asks expects an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// `{"error":{"message":...,"type":...,"param":...,"code":...}}`
    OpenAi,
    /// `{"error":"..."}`
    Ollama,
}

impl ErrorForm {
    /// What is expected of an answer from `path`: Ollama's addresses are those below `/api`.
    pub(crate) fn of(path: &str) -> ErrorForm {
        match path.strip_prefix("/api") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => ErrorForm::Ollama,
            _ => ErrorForm::OpenAi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollamas_addresses_are_those_below_api() {
        for path in ["/api", "/api/", "/api/chat", "/api/nowhere"] {
            assert_eq!(ErrorForm::of(path), ErrorForm::Ollama, "{path}");
        }
        for path in ["/", "/apis", "/v1/api/chat", "/livez", ""] {
            assert_eq!(ErrorForm::of(path), ErrorForm::OpenAi, "{path}");
        }
    }
}
