//! The one list of settings. Flags, environment variables, the file's keys, `--help` and `tandem config` are made of it.

/// Under which heading `--help` shows a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Model,
    Serving,
    Logging,
    Sampling,
    Requests,
    Connections,
}

impl Topic {
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Topic::Model => "Model and engines",
            Topic::Serving => "Serving",
            Topic::Logging => "Logging",
            Topic::Sampling => "Sampling, where a request says nothing",
            Topic::Requests => "Limits of one request",
            Topic::Connections => "Limits of clients and connections",
        }
    }

    /// Whether `-h` shows it too; the others are for `--help`.
    pub(crate) fn is_everyday(self) -> bool {
        matches!(self, Topic::Model | Topic::Serving | Topic::Logging)
    }
}

/// One setting: `slots` is the flag `--slots`, the variable `TANDEM_SLOTS` and the file's key `slots`.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) topic: Topic,
    /// What stands for the value in `--help`.
    pub(crate) value: &'static str,
    /// The value if nobody gives one; empty where it follows from other facts.
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

impl Setting {
    /// `--kv-tokens` for `kv_tokens`, without the dashes in front.
    pub(crate) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// `TANDEM_KV_TOKENS` for `kv_tokens`.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key.to_uppercase())
    }
}

/// What every environment variable of ours begins with.
pub(crate) const VARIABLE_PREFIX: &str = "TANDEM_";

const fn setting(
    topic: Topic,
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        topic,
        value,
        default,
        help,
    }
}

/// All of them, in the order of `--help`.
#[rustfmt::skip] // A table reads by rows.
pub(crate) const SETTINGS: &[Setting] = {
    use Topic::{Connections, Logging, Model, Requests, Sampling, Serving};
    &[
        setting(Model, "model", "MODEL", "tiny", "A GGUF file, a name in our own or an Ollama model store such as deepseek-r1:32b, hf:OWNER/REPO[:FILE] in the Hugging Face cache, or `tiny`, the small model inside this program"),
        setting(Model, "store", "FOLDER", "", "Where our own models are, looked at before Ollama's [default: ~/.tandem/models]"),
        setting(Model, "aliases", "LIST", "", "More names, such as gpt-4o-mini=deepseek-r1:32b:nothink; `:nothink` behind any name means replies without a thought"),
        setting(Model, "any_model", "BOOL", "false", "Answer every other name with this model too"),
        setting(Model, "on_demand", "BOOL", "true", "Load other models of the stores when a request names them"),
        setting(Model, "loaded_models", "COUNT", "3", "Models loaded at once; past it the one that is idle longest leaves"),
        setting(Model, "keep_alive", "TIME", "5m", "How long a model that was loaded on demand stays after its last request; -1 is for ever"),
        setting(Model, "devices", "LIST", "cpu,cpu", "What to run on, one engine per entry: `cpu`, `cuda:0`, `cuda:1`; `cpu@8G` uses at most 8 GiB of its memory"),
        setting(Model, "placement", "NAME", "auto", "How the model lies on the devices: `auto`, `replicas`, `pipeline`, `tensor` or `offload`; `tandem plan` tells"),
        setting(Model, "weights", "LIST", "", "Each engine's share of the requests, such as 3,1 [default: 1 each]"),
        setting(Model, "context", "TOKENS", "", "Most tokens of one conversation [default: the model's, at most 8192]"),
        setting(Model, "slots", "COUNT", "8", "Requests one engine computes at the same time"),
        setting(Model, "queue", "COUNT", "64", "Requests that may wait for each engine; past it 429"),
        setting(Model, "step_tokens", "TOKENS", "128", "Prompt tokens one step may take beside the running replies"),
        setting(Model, "kv_tokens", "TOKENS", "", "KV cache of one engine [default: context x slots, at most half of the free memory for all]"),
        setting(Model, "kv", "FORMAT", "f16", "How the KV cache stores keys and values: `f16`, or `q8_0` in about half the memory"),
        setting(Model, "simd", "SET", "avx512", "The widest vector instructions to use where the processor has them: `scalar`, `avx2` or `avx512`"),
        setting(Serving, "listen", "IP:PORT", "127.0.0.1:11434", "Where to listen"),
        setting(Serving, "insecure", "BOOL", "false", "Listen beyond this machine although nobody needs a key"),
        setting(Serving, "ollama_think", "NAME", "inline", "Where Ollama's API shows a thought that a request says nothing of: `inline`, in the text, or `split`, apart"),
        setting(Serving, "ollama_version", "VERSION", "0.13.3", "The version of Ollama to be taken for: clients choose by it what they ask"),
        setting(Serving, "origins", "LIST", "*", "Whose web pages may call: `*` for all, or such as https://chat.example,http://localhost:*"),
        setting(Serving, "hosts", "LIST", "", "Names of this server beside localhost, this machine's and private addresses, such as gpu.example"),
        setting(Serving, "manage_models", "BOOL", "", "Let clients pull, copy, create and delete models [default: true where only this machine can connect]"),
        setting(Serving, "pull_hosts", "LIST", "registry.ollama.ai,huggingface.co,hf.co", "Where models may be pulled from; `http://10.0.0.2:5000` for one without TLS"),
        setting(Serving, "drain_seconds", "SECONDS", "30", "How long running replies may go on after SIGTERM"),
        setting(Logging, "log", "FILTER", "info", "What to log: a level, or tracing's `target=level,...`"),
        setting(Logging, "log_format", "FORMAT", "text", "`text` for people, `json` for machines"),
        setting(Sampling, "temperature", "NUMBER", "0.6", "0 is greedy"),
        setting(Sampling, "top_p", "NUMBER", "0.95", "Share of the probability to choose from; 1 is off"),
        setting(Sampling, "top_k", "COUNT", "0", "Tokens to choose from; 0 is off"),
        setting(Sampling, "min_p", "NUMBER", "0", "Least probability relative to the best token's; 0 is off"),
        setting(Sampling, "repetition_penalty", "NUMBER", "1", "For tokens seen already; 1 is off"),
        setting(Requests, "output_tokens", "TOKENS", "4096", "Reply tokens where a request names no number"),
        setting(Requests, "keep_alive_seconds", "SECONDS", "10", "Between two signs of life on a silent stream"),
        setting(Requests, "body_bytes", "BYTES", "2097152", "Size of a request's body; past it 413"),
        setting(Requests, "blob_bytes", "BYTES", "68719476736", "Size of a file that is uploaded for a model; past it 413"),
        setting(Requests, "messages", "COUNT", "1024", "Messages of one conversation"),
        setting(Requests, "stop_strings", "COUNT", "4", "Stop strings"),
        setting(Requests, "stop_chars", "COUNT", "64", "Characters of one stop string"),
        setting(Requests, "logit_bias", "COUNT", "300", "Entries of `logit_bias`"),
        setting(Requests, "choices", "COUNT", "8", "Choices, `n`"),
        setting(Requests, "prompts", "COUNT", "8", "Prompts of one completion request"),
        setting(Requests, "embedding_inputs", "COUNT", "256", "Texts of one embedding request"),
        setting(Requests, "top_logprobs", "COUNT", "20", "Alternatives shown per token"),
        setting(Connections, "connections", "COUNT", "2048", "Connections; past it the longest idle one is closed"),
        setting(Connections, "connections_per_ip", "COUNT", "64", "The same for each address but loopback"),
        setting(Connections, "header_seconds", "SECONDS", "10", "From a request's first byte to its headers' end"),
        setting(Connections, "header_bytes", "BYTES", "65536", "Size of request line and headers; past it 431"),
        setting(Connections, "headers", "COUNT", "100", "Number of headers; past it 431"),
        setting(Connections, "uri_bytes", "BYTES", "8192", "Length of the address; past it 414"),
        setting(Connections, "body_seconds", "SECONDS", "30", "From the headers' end to the body's; past it 408"),
        setting(Connections, "idle_seconds", "SECONDS", "60", "Between two requests on one connection"),
        setting(Connections, "write_seconds", "SECONDS", "30", "Without a client taking what waits for it"),
    ]
};

/// The setting with this key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Keys that `wrong` may have been meant to be, nearest first.
pub(crate) fn near(wrong: &str) -> Vec<&'static str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    let mut near: Vec<(usize, &str)> = SETTINGS
        .iter()
        .map(|setting| setting.key)
        .filter_map(|key| {
            let is_part = wrong.len().min(key.len()) >= 3 && (key.contains(&wrong) || wrong.contains(key));
            let distance = edits(&wrong, key);
            (distance <= (wrong.len() / 3).min(2) || is_part).then_some((distance, key))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, key)| key).collect()
}

/// Levenshtein's distance, one row at a time.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, (above_left, above)) in to.iter().zip(row.iter().zip(row.iter().skip(1))) {
            left = (above_left + usize::from(a != *b)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in [
            ("", "", 0),
            ("slot", "slots", 1),
            ("qeue", "queue", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(edits(from, to), expected, "{from} to {to}");
        }
    }

    #[test]
    fn a_wrong_key_finds_its_neighbours() {
        assert_eq!(near("slot"), ["slots"]);
        assert_eq!(near("kv-tokns"), ["kv_tokens"]);
        assert_eq!(near("drain"), ["drain_seconds"]);
        assert!(near("zzzzzz").is_empty());
    }

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), SETTINGS.len());
    }
}
