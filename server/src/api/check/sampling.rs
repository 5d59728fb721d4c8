//! How tokens are drawn: the numbers, each in the range that the sampler is made for.

use engine::Sampling;
use uuid::Uuid;

use super::Rules;
use super::field::{count, flag_or, real, refuse, whole};
use crate::api::error::ApiError;
use crate::api::wire::given::shown;
use crate::api::wire::list::LIST_CEILING;
use crate::api::wire::request::GenerateRequest;
use crate::api::wire::{Entries, Field, Given};

/// Checks the sampling fields. Without a seed a random one is drawn, so that the same request varies.
///
/// * `logprobs`  as checked by the endpoint, for its shape differs between them
pub(crate) fn sampling(
    request: &GenerateRequest,
    logprobs: Option<usize>,
    rules: &Rules<'_>,
) -> Result<Sampling, ApiError> {
    let defaults = rules.defaults;
    Ok(Sampling {
        temperature: real("temperature", &request.temperature, 0.0..=2.0)?.unwrap_or(defaults.temperature),
        top_p: top_p(&request.top_p)?.unwrap_or(defaults.top_p),
        top_k: top_k(&request.top_k)?.unwrap_or(defaults.top_k),
        min_p: real("min_p", &request.min_p, 0.0..=1.0)?.unwrap_or(defaults.min_p),
        repetition_penalty: real("repetition_penalty", &request.repetition_penalty, 0.1..=10.0)?
            .unwrap_or(defaults.repetition_penalty),
        presence_penalty: real("presence_penalty", &request.presence_penalty, -2.0..=2.0)?.unwrap_or(0.0),
        frequency_penalty: real("frequency_penalty", &request.frequency_penalty, -2.0..=2.0)?.unwrap_or(0.0),
        seed: seed(&request.seed)?.unwrap_or_else(drawn_seed),
        logit_bias: logit_bias(&request.logit_bias, rules)?,
        logprobs,
    })
}

fn top_p(given: &Given) -> Result<Option<f32>, ApiError> {
    match real("top_p", given, 0.0..=1.0)? {
        Some(0.0) => Err(refuse(
            "top_p",
            given,
            "a number above 0, to 1; for greedy set temperature to 0",
        )),
        top_p => Ok(top_p),
    }
}

/// -1 and 0 both mean off, as in vLLM.
fn top_k(given: &Given) -> Result<Option<usize>, ApiError> {
    let top_k = whole("top_k", given, -1..=i128::from(u32::MAX))?;
    Ok(top_k.map(|top_k| usize::try_from(top_k).unwrap_or(0)))
}

/// Any 64-bit number, signed or not: a negative one stands for its two's complement.
fn seed(given: &Given) -> Result<Option<u64>, ApiError> {
    let seed = whole("seed", given, i128::from(i64::MIN)..=i128::from(u64::MAX))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low 64 bits are meant"
    )]
    Ok(seed.map(|seed| seed as u64))
}

/// A seed that nobody can guess.
pub(crate) fn drawn_seed() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // Six of the bits are the version's and the variant's: folded, every bit has a random one in it.
    high.rotate_left(32) ^ low
}

fn logit_bias(given: &Field<Entries>, rules: &Rules<'_>) -> Result<Vec<(u32, f32)>, ApiError> {
    let entries_max = rules.limits.logit_bias_max;
    let allowed = format!("an object of at most {entries_max} token ids, each with a number from -100 to 100");
    let entries = match given {
        Field::Other(given) if given.is_absent() => return Ok(Vec::new()),
        Field::Other(given) => return Err(refuse("logit_bias", given, allowed)),
        Field::Value(entries) if entries.sent > entries_max.min(LIST_CEILING) => {
            return Err(refuse("logit_bias", &Given::Keys(entries.sent), allowed));
        }
        Field::Value(entries) => &entries.items,
    };
    let mut biases: Vec<(u32, f32)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let token = bias_token(key, rules.vocabulary)?;
        let param = format!("logit_bias.{token}");
        let bias =
            real(&param, value, -100.0..=100.0)?.ok_or_else(|| refuse(&param, value, "a number from -100 to 100"))?;
        // A key given twice: the last one counts, as in any JSON reader.
        biases.retain(|(earlier, _)| *earlier != token);
        biases.push((token, bias));
    }
    Ok(biases)
}

fn bias_token(key: &str, vocabulary: usize) -> Result<u32, ApiError> {
    key.parse::<u32>()
        .ok()
        .filter(|token| (*token as usize) < vocabulary)
        .ok_or_else(|| {
            let found = format!("for token {}", shown(key));
            refuse(
                "logit_bias",
                &found,
                format!("token ids from 0 to {}", vocabulary.saturating_sub(1)),
            )
        })
}

/// `logprobs` and `top_logprobs` of `/v1/chat/completions`.
pub(crate) fn chat_logprobs(request: &GenerateRequest, rules: &Rules<'_>) -> Result<Option<usize>, ApiError> {
    let wanted = flag_or("logprobs", &request.logprobs, false)?;
    let top = count("top_logprobs", &request.top_logprobs, 0..=rules.limits.top_logprobs_max)?;
    match (wanted, top) {
        (false, Some(1..)) => Err(refuse(
            "top_logprobs",
            &request.top_logprobs,
            "\"logprobs\": true with it",
        )),
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// `logprobs` of `/v1/completions`: a number there.
pub(crate) fn completion_logprobs(request: &GenerateRequest, rules: &Rules<'_>) -> Result<Option<usize>, ApiError> {
    count("logprobs", &request.logprobs, 0..=rules.limits.top_logprobs_max)
}
