//! The angles by which positions turn queries and keys, and the ways in which long-context models stretch them.

use std::f64::consts::PI;

use super::Keys;
use crate::error::ModelsError;
use crate::limits::CONTEXT_TOKENS_MAX;

/// What turns a position into angles.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians per position of each pair, `[head_dim / 2]`.
    pub frequencies: Vec<f32>,
    /// Multiplies sines and cosines.
    pub magnitude: f32,
}

/// The tensor of Llama 3.1 and later: one divisor per frequency.
pub(crate) const FACTORS_TENSOR: &str = "rope_freqs.weight";

impl Rope {
    /// Reads base and scaling: none, `linear`, `yarn`, or the factors of a [`FACTORS_TENSOR`].
    pub(super) fn read(keys: &Keys<'_>, head_dim: usize) -> Result<Rope, ModelsError> {
        let base = f64::from(keys.positive("rope.freq_base", 10_000.0)?);
        let plain: Vec<f64> = (0..head_dim / 2)
            .map(|pair| base.powf(-2.0 * pair as f64 / head_dim as f64))
            .collect();
        let kind_key = keys.key("rope.scaling.type");
        let kind = keys.gguf.metadata().opt_text(&kind_key)?.unwrap_or("none");
        let scaled = match kind {
            "none" => Scaled {
                frequencies: plain,
                magnitude: 1.0,
            },
            "linear" => {
                let factor = f64::from(keys.positive("rope.scaling.factor", 1.0)?);
                Scaled {
                    frequencies: plain.iter().map(|f| f / factor).collect(),
                    magnitude: 1.0,
                }
            }
            "yarn" => yarn(keys, base, &plain)?,
            other => {
                let found = other.chars().take(40).collect::<String>();
                return Err(keys.refuse("rope.scaling.type", found, "none, linear or yarn"));
            }
        };
        let factors = factors(keys, head_dim / 2)?;
        let divided = scaled
            .frequencies
            .iter()
            .zip(factors)
            .map(|(frequency, factor)| frequency / f64::from(factor));
        Ok(Rope {
            frequencies: divided.map(narrow).collect(),
            magnitude: narrow(scaled.magnitude),
        })
    }
}

#[allow(clippy::cast_possible_truncation)] // Rounding to f32 is what is meant.
fn narrow(value: f64) -> f32 {
    value as f32
}

struct Scaled {
    frequencies: Vec<f64>,
    magnitude: f64,
}

/// YaRN: slow pairs are stretched by the factor, fast ones are left, those between are blended.
///
/// Source: Peng et al. 2023, section 3.2 and equation 22; the parameters' names are GGUF's.
fn yarn(keys: &Keys<'_>, base: f64, plain: &[f64]) -> Result<Scaled, ModelsError> {
    let factor = f64::from(keys.positive("rope.scaling.factor", 1.0)?);
    let context = keys.number("rope.scaling.original_context_length", 1, CONTEXT_TOKENS_MAX)? as f64;
    let attention_factor = f64::from(keys.positive("rope.scaling.attn_factor", 1.0)?);
    let beta_fast = f64::from(keys.positive("rope.scaling.yarn_beta_fast", 32.0)?);
    let beta_slow = f64::from(keys.positive("rope.scaling.yarn_beta_slow", 1.0)?);
    let pairs = plain.len() as f64;
    // The pair that makes `turns` turns over the original context.
    let pair_of = |turns: f64| pairs * (context / (turns * 2.0 * PI)).ln() / base.ln();
    let low = pair_of(beta_fast).floor().max(0.0);
    let high = pair_of(beta_slow).ceil().min(2.0 * pairs - 1.0);
    let blended = plain.iter().enumerate().map(|(pair, frequency)| {
        let slowness = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        frequency / factor * slowness + frequency * (1.0 - slowness)
    });
    Ok(Scaled {
        frequencies: blended.collect(),
        magnitude: attention_factor * (1.0 + 0.1 * factor.ln()),
    })
}

/// The divisors of the frequencies: ones where the file has none.
fn factors(keys: &Keys<'_>, pairs: usize) -> Result<Vec<f32>, ModelsError> {
    let Some(tensor) = keys.gguf.tensor(FACTORS_TENSOR) else {
        return Ok(vec![1.0; pairs]);
    };
    let factors = crate::load::vector(keys.gguf, tensor)?;
    match factors.iter().find(|factor| !(factor.is_finite() && **factor > 0.0)) {
        Some(found) => Err(ModelsError::Setting {
            file: keys.gguf.name().to_owned(),
            key: FACTORS_TENSOR.to_owned(),
            found: format!("{found} in one place"),
            allowed: "finite numbers above 0".to_owned(),
        }),
        None => Ok(factors),
    }
}
