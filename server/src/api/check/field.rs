//! Checks of single fields: the type, then the range, with one wording for all.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::api::error::ApiError;
use crate::api::wire::Given;

/// A refusal in the one wording: ``temperature is 3: give a number from 0 to 2``.
pub(crate) fn refuse(param: &str, found: &impl Display, allowed: impl Display) -> ApiError {
    ApiError::field(param, format!("{param} is {found}: give {allowed}"))
}

/// A number within a range, `None` where it is not given.
pub(crate) fn real(param: &str, given: &Given, range: RangeInclusive<f32>) -> Result<Option<f32>, ApiError> {
    let allowed = || format!("a number from {} to {}", range.start(), range.end());
    // Compared as f32, as the sampler will use it: 1e-320 is 0 there, and 2.00000001 is 2.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "rounding is meant, the range is checked after"
    )]
    let number = match given {
        Given::Absent | Given::Null => return Ok(None),
        Given::Whole(number) => *number as f32,
        Given::Real(number) => *number as f32,
        _ => return Err(refuse(param, given, allowed())),
    };
    if range.contains(&number) {
        Ok(Some(number))
    } else {
        Err(refuse(param, given, allowed()))
    }
}

/// A whole number within a range, `None` where it is not given. `2.0` is whole: some languages know no other numbers.
pub(crate) fn whole(param: &str, given: &Given, range: RangeInclusive<i128>) -> Result<Option<i128>, ApiError> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0; // 2^53: past it a float stands for several whole numbers.
    let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
    let number = match given {
        Given::Absent | Given::Null => return Ok(None),
        Given::Whole(number) => *number,
        #[expect(clippy::cast_possible_truncation, reason = "no fraction and below 2^53")]
        Given::Real(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => *number as i128,
        _ => return Err(refuse(param, given, allowed())),
    };
    if range.contains(&number) {
        Ok(Some(number))
    } else {
        Err(refuse(param, given, allowed()))
    }
}

/// A count from `least` to `most`, `None` where it is not given.
pub(crate) fn count(param: &str, given: &Given, range: RangeInclusive<usize>) -> Result<Option<usize>, ApiError> {
    let number = whole(param, given, *range.start() as i128..=*range.end() as i128)?;
    Ok(number.map(|number| usize::try_from(number).unwrap_or(*range.end())))
}

/// `true` or `false`, `None` where it is not given.
pub(crate) fn flag(param: &str, given: &Given) -> Result<Option<bool>, ApiError> {
    match given {
        Given::Absent | Given::Null => Ok(None),
        Given::Flag(flag) => Ok(Some(*flag)),
        _ => Err(refuse(param, given, "true or false")),
    }
}

/// `true` or `false`, `default` where it is not given.
pub(crate) fn flag_or(param: &str, given: &Given, default: bool) -> Result<bool, ApiError> {
    flag(param, given).map(|flag| flag.unwrap_or(default))
}

/// A text, `None` where it is not given.
pub(crate) fn text<'a>(param: &str, given: &'a Given) -> Result<Option<&'a str>, ApiError> {
    match given {
        Given::Absent | Given::Null => Ok(None),
        Given::Text(text) => Ok(Some(text)),
        _ => Err(refuse(param, given, "a text")),
    }
}
