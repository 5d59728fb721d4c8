//! The tiny model with another template: one that knows tools.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Server, TINY, command};

/// As Hermes's and Qwen's files have it in essence.
const TEMPLATE: &str = "{%- if tools %}{{- '<|im_start|>tools\\n' }}{%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}\
    {{- 'Call as <tool_call>.' }}{%- endif %}\
    {%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content }}\
    {%- for call in message.tool_calls %}{{- '<tool_call>\\n{\"name\": \"' + call.function.name + '\", \"arguments\": ' }}\
    {{- call.function.arguments | tojson + '}\\n</tool_call>' }}{%- endfor %}{%- endfor %}\
    {%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

/// A model file in a folder of its own.
pub(crate) struct ToolModel {
    folder: TempDir,
}

impl ToolModel {
    /// Overwrites names and template with others of the same length, so that nothing else moves.
    pub(crate) fn new() -> ToolModel {
        let mut bytes = fs::read(TINY).unwrap();
        // Without its own names for the turns the vocabulary is not of the family whose template is built in.
        for (old, new) in [("<｜User｜>", "<|im_start|>"), ("<｜Assistant｜>", "<|assistant_tok|>")] {
            let at = find(&bytes, old.as_bytes());
            bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
            assert_eq!(old.len(), new.len());
        }
        let key = b"tokenizer.chat_template";
        // After the key stand its type, 4 bytes, and the text's length, 8 bytes.
        let text = find(&bytes, key) + key.len() + 12;
        let length = usize::try_from(u64::from_le_bytes(bytes[text - 8..text].try_into().unwrap())).unwrap();
        let padding = "-".repeat(length - TEMPLATE.len() - 4);
        let template = format!("{TEMPLATE}{{#{padding}#}}");
        bytes[text..text + length].copy_from_slice(template.as_bytes());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tools.gguf"), bytes).unwrap();
        ToolModel { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("tools.gguf")
    }

    pub(crate) fn serve(&self) -> Server {
        let mut command = command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--devices", "cpu", "--model"]);
        command.arg(self.path());
        Server::spawn(command)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .expect("it is there")
}
