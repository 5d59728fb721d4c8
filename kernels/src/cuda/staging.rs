//! Pinned memory that step data goes through, so that a copy needs no waiting for the card.

use super::device::{Device, Pinned};

/// Bytes of each area: a step's rows, tables and embeddings fit; what does not goes in pieces.
const AREA_BYTES: usize = 4 << 20;

/// One area for each direction.
pub(super) struct Staging {
    up: Pinned,
    /// Bytes of `up` whose copies the card may not have made yet.
    used: usize,
    down: Pinned,
}

impl Staging {
    pub(super) fn new(device: &Device) -> Result<Staging, String> {
        Ok(Staging {
            up: device.pinned(AREA_BYTES)?,
            used: 0,
            down: device.pinned(AREA_BYTES)?,
        })
    }

    /// Has `bytes` copied to `place`.
    pub(super) fn upload(&mut self, device: &Device, place: u64, bytes: &[u8]) -> Result<(), String> {
        for (index, piece) in bytes.chunks(AREA_BYTES).enumerate() {
            if self.used + piece.len() > AREA_BYTES {
                device.finish()?;
                self.used = 0;
            }
            self.up.bytes_mut()[self.used..self.used + piece.len()].copy_from_slice(piece);
            device.copy_in(&self.up, self.used, piece.len(), place + (index * AREA_BYTES) as u64)?;
            self.used = (self.used + piece.len()).next_multiple_of(64);
        }
        Ok(())
    }

    /// Waits for the card and reads `bytes` from `place`.
    pub(super) fn download(&mut self, device: &Device, place: u64, bytes: &mut [u8]) -> Result<(), String> {
        for (index, piece) in bytes.chunks_mut(AREA_BYTES).enumerate() {
            device.copy_out(place + (index * AREA_BYTES) as u64, &mut self.down, piece.len())?;
            device.finish()?;
            self.used = 0;
            piece.copy_from_slice(&self.down.bytes()[..piece.len()]);
        }
        Ok(())
    }

    /// Gives the areas back.
    pub(super) fn free(&mut self, device: &Device) {
        device.free_pinned(&mut self.up);
        device.free_pinned(&mut self.down);
    }
}
