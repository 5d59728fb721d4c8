//! The tiny model that is part of the program: trained, thinking, the default and what the tests talk to.
//!
//! `models/tiny/` holds the file and the programs that made it.

/// The whole GGUF file; [`library::Gguf::from_static`] opens it.
pub const GGUF: &[u8] = include_bytes!("../tiny/tiny.gguf");

#[cfg(test)]
mod tests {
    use super::GGUF;
    use crate::{Architecture, Config};

    #[test]
    fn it_is_a_qwen2_of_at_most_four_megabytes() {
        let gguf = library::Gguf::from_static(GGUF, "tiny").unwrap();
        let config = Config::from_gguf(&gguf).unwrap();
        assert_eq!(config.architecture, Architecture::Qwen2);
        assert!(
            config.hidden.is_multiple_of(256),
            "{} elements do not fill K blocks",
            config.hidden
        );
        assert!(GGUF.len() <= 4 << 20, "{} bytes", GGUF.len());
    }
}
