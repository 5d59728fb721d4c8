//! The decoder seen from outside: against an independent f32 model, against itself in other company, and against files
//! that lie.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, unreachable_pub)]

mod agreement;
#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
mod cards;
mod company;
mod loading;
mod make;
mod placements;
mod refusals;
mod states;
mod truth;
