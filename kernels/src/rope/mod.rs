//! Rotary position embedding: pairs of a head's elements turn by an angle that grows with the position.

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
pub mod scalar;

use crate::error::{KernelError, expect_length};

/// Which elements of a head form a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// Element i and element i + head_dim / 2 (GPT-NeoX): Qwen.
    Halves,
    /// Elements 2i and 2i + 1: llama, whose query and key rows are stored in this order in a GGUF file.
    Neighbours,
}

/// Sines and cosines of one batch's positions, shared by all layers and heads.
#[derive(Default)]
pub struct Rotation {
    half: usize,
    cosines: Vec<f32>, // [rows, head_dim / 2]
    sines: Vec<f32>,   // [rows, head_dim / 2]
}

impl Rotation {
    /// Computes the angles of `positions`.
    ///
    /// * `frequencies`  `[head_dim / 2]`, radians per position
    /// * `magnitude`  multiplies sines and cosines (1 but for some long-context scalings)
    pub fn prepare(&mut self, positions: &[u32], frequencies: &[f32], magnitude: f32) {
        self.half = frequencies.len();
        self.cosines.clear();
        self.sines.clear();
        for position in positions {
            for frequency in frequencies {
                // The angle is an f32 product, as where the models were trained.
                let (sine, cosine) = (*position as f32 * frequency).sin_cos();
                self.cosines.push(cosine * magnitude);
                self.sines.push(sine * magnitude);
            }
        }
    }

    /// Turns every head of `values` `[rows, heads, head_dim]` by its row's angles.
    ///
    /// # Errors
    /// `Length` if `values` does not have the rows that were prepared.
    pub fn apply(&self, values: &mut [f32], heads: usize, pairing: Pairing) -> Result<(), KernelError> {
        let row = heads * 2 * self.half;
        expect_length("the rows to turn", values.len() * self.half, self.cosines.len() * row)?;
        if row == 0 {
            return Ok(());
        }
        let angles = self
            .cosines
            .chunks_exact(self.half)
            .zip(self.sines.chunks_exact(self.half));
        for (row, (cosines, sines)) in values.chunks_exact_mut(row).zip(angles) {
            for head in row.chunks_exact_mut(2 * self.half) {
                match pairing {
                    Pairing::Halves => scalar::turn_halves(head, cosines, sines),
                    Pairing::Neighbours => scalar::turn_neighbours(head, cosines, sines),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_moves_each_pair() {
        let mut rotation = Rotation::default();
        let quarter = std::f32::consts::FRAC_PI_2;
        rotation.prepare(&[0, 1], &[quarter, 0.0], 1.0);
        let mut halves = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0];
        let mut neighbours = halves;
        rotation.apply(&mut halves, 1, Pairing::Halves).unwrap();
        rotation.apply(&mut neighbours, 1, Pairing::Neighbours).unwrap();
        let expected = [1.0, 2.0, 3.0, 4.0, -3.0, 2.0, 1.0, 4.0];
        assert!(
            halves.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6),
            "{halves:?}"
        );
        let expected = [1.0, 2.0, 3.0, 4.0, -2.0, 1.0, 3.0, 4.0];
        assert!(
            neighbours.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6),
            "{neighbours:?}"
        );
    }

    #[test]
    fn every_head_of_a_row_turns_alike_and_by_its_rows_position() {
        let mut rotation = Rotation::default();
        rotation.prepare(&[5000, 7], &[1.0, 0.1, 0.01], 0.5);
        let head: Vec<f32> = (0..6).map(|i| i as f32 + 1.0).collect();
        let mut values = head.repeat(4);
        rotation.apply(&mut values, 2, Pairing::Halves).unwrap();
        assert_eq!(values[..6], values[6..12]);
        assert_eq!(values[12..18], values[18..]);
        let mut alone = Rotation::default();
        alone.prepare(&[7], &[1.0, 0.1, 0.01], 0.5);
        let mut row = head.repeat(2);
        alone.apply(&mut row, 2, Pairing::Halves).unwrap();
        assert_eq!(values[12..], row);
    }

    #[test]
    fn rows_that_were_not_prepared_are_refused() {
        let mut rotation = Rotation::default();
        rotation.prepare(&[1], &[1.0], 1.0);
        assert!(rotation.apply(&mut [0.0; 4], 1, Pairing::Halves).is_err());
        assert!(rotation.apply(&mut [0.0; 4], 2, Pairing::Halves).is_ok());
    }
}
