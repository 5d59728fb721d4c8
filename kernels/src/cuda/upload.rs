//! Weights on their way to the card: while one buffer is copied, the next is filled from the file.

use std::rc::Rc;

use super::device::{Device, Mark, Pinned};
use super::{Gpu, GpuBuffer, GpuError};
use crate::KernelError;

/// Two pinned buffers, used in turn.
pub struct Upload<'a> {
    gpu: &'a Gpu,
    device: Rc<Device>,
    rooms: [Room; 2],
    current: usize,
}

struct Room {
    memory: Pinned,
    /// Reached when the card has copied what was sent last.
    copied: Mark,
}

impl<'a> Upload<'a> {
    /// Two buffers of `bytes` each; 16 MiB are plenty.
    ///
    /// # Errors
    /// `Driver` if there is no pinned memory.
    pub fn new(gpu: &'a Gpu, bytes: usize) -> Result<Upload<'a>, GpuError> {
        let device = gpu.device().clone();
        let room = || -> Result<Room, String> {
            let copied = device.mark()?;
            let memory = device.pinned(bytes.max(1))?;
            Ok(Room { memory, copied })
        };
        let refused = || gpu.refused("get memory for copies");
        let rooms = [room().map_err(refused())?, room().map_err(refused())?];
        Ok(Upload {
            gpu,
            device,
            rooms,
            current: 0,
        })
    }

    /// The bytes to fill next. Waits until the card has copied what they held.
    ///
    /// # Errors
    /// `Driver` if a copy failed.
    pub fn room(&mut self) -> Result<&mut [u8], GpuError> {
        let refused = self.gpu.refused("copy weights");
        let room = &mut self.rooms[self.current];
        self.device.wait_for(&room.copied).map_err(refused)?;
        Ok(room.memory.bytes_mut())
    }

    /// Sends the first `bytes` of what [`Upload::room`] gave to `target` from byte `at` on, and turns to the other buffer.
    ///
    /// # Errors
    /// `Refused` if they do not fit; `Driver`.
    pub fn send(&mut self, bytes: usize, target: &mut GpuBuffer<u8>, at: usize) -> Result<(), GpuError> {
        let place = target.place(at, bytes)?;
        let room = &mut self.rooms[self.current];
        let limit = room.memory.bytes().len();
        if bytes > limit {
            let (what, found) = ("the upload's byte", bytes);
            return Err(KernelError::Range { what, found, limit }.into());
        }
        let sent = self.device.copy_in(&room.memory, 0, bytes, place);
        let sent = sent.and_then(|()| self.device.set_mark(&mut room.copied));
        sent.map_err(self.gpu.refused("copy weights"))?;
        self.current = 1 - self.current;
        Ok(())
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        for room in &mut self.rooms {
            // What fails here fails again at the next wait, which reports it.
            let _ = self.device.wait_for(&room.copied);
            self.device.free_pinned(&mut room.memory);
            self.device.free_mark(&mut room.copied);
        }
    }
}
