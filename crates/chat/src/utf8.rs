//! Bytes that arrive in pieces, as text: whole characters only, and what `String::from_utf8_lossy` gives of the whole.

/// The bytes of a character that has begun: at most three.
#[derive(Debug, Default)]
pub(crate) struct Utf8Decoder {
    begun: Vec<u8>,
}

impl Utf8Decoder {
    /// Adds `bytes` and writes the characters that are now complete onto `text`.
    pub(crate) fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.begun.extend_from_slice(bytes);
        let mut left = self.begun.as_slice();
        loop {
            let error = match std::str::from_utf8(left) {
                Ok(rest) => {
                    text.push_str(rest);
                    left = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, rest) = left.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            left = rest;
            let Some(invalid) = error.error_len() else {
                break;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            left = &left[invalid..];
        }
        let done = self.begun.len() - left.len();
        self.begun.drain(..done);
    }

    /// Ends the text: a character that never ended becomes U+FFFD.
    pub(crate) fn finish(&mut self, text: &mut String) {
        if !self.begun.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cut_of_any_bytes_gives_what_the_whole_gives(
            chunks in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..5),
                    prop::sample::select(vec![0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x91, 0xA9, 0x80, 0xED, 0xA0, b'a'])
                        .prop_map(|byte: u8| vec![byte]),
                ],
                0..24,
            )
        ) {
            let mut decoder = Utf8Decoder::default();
            let mut text = String::new();
            for chunk in &chunks {
                decoder.push(chunk, &mut text);
            }
            decoder.finish(&mut text);
            let whole: Vec<u8> = chunks.concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole).into_owned());
        }
    }

    #[test]
    fn a_character_comes_with_its_last_byte() {
        let mut decoder = Utf8Decoder::default();
        let mut text = String::new();
        decoder.push(b"a\xE4\xB8", &mut text);
        assert_eq!(text, "a");
        decoder.push(b"\xAD", &mut text);
        assert_eq!(text, "a中");
    }
}
