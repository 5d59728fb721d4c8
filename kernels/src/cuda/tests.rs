//! Memory, copies and refusals of a card, and what the operations' own tests share.

use super::*;

/// The card that tests run on.
pub(crate) fn gpu() -> Gpu {
    Gpu::open(0).unwrap()
}

/// A reproducible stream of numbers in -1..1.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

#[test]
fn what_is_uploaded_is_downloaded() {
    let gpu = gpu();
    let numbers: Vec<u32> = (0..3_000_000).collect(); // More than the staging area holds.
    let mut buffer = gpu.zeroed("numbers", numbers.len() + 2).unwrap();
    gpu.upload(&mut buffer, 1, &numbers).unwrap();
    let found = gpu.downloaded(&buffer).unwrap();
    assert_eq!((found[0], found[numbers.len() + 1]), (0, 0));
    assert_eq!(found[1..=numbers.len()], numbers);
    assert!(gpu.upload(&mut buffer, 3, &numbers).is_err());
    let mut copy = gpu.zeroed("copy", 3).unwrap();
    gpu.copy(&buffer, &mut copy, 3).unwrap();
    assert_eq!(gpu.downloaded(&copy).unwrap(), [0, 0, 1]);
}

#[test]
fn a_card_that_is_not_there_and_memory_that_is_not_there_are_refused() {
    assert!(matches!(Gpu::open(99), Err(GpuError::NoDevice { index: 99, .. })));
    let refusal = gpu().zeroed::<f32>("the moon", usize::MAX / 4).err().unwrap();
    assert!(refusal.to_string().contains("for the moon"), "{refusal}");
}

#[test]
fn weights_go_up_by_turns() {
    let gpu = gpu();
    let mut target = gpu.zeroed("weights", 10).unwrap();
    let mut upload = Upload::new(&gpu, 4).unwrap();
    for (at, bytes) in [(0, &[1, 2, 3, 4][..]), (4, &[5, 6, 7, 8]), (8, &[9, 10])] {
        upload.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
        upload.send(bytes.len(), &mut target, at).unwrap();
    }
    assert!(upload.send(5, &mut target, 0).is_err());
    assert!(upload.send(4, &mut target, 7).is_err());
    drop(upload);
    assert_eq!(gpu.downloaded(&target).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_kernel_that_is_not_there_does_not_start() {
    let gpu = gpu();
    // SAFETY: nothing of that name runs.
    let refusal = unsafe { gpu.launch(Launch::line("no_such_kernel", 1, 32), []) }.unwrap_err();
    assert!(refusal.to_string().contains("cannot start no_such_kernel"), "{refusal}");
}

#[test]
fn rows_of_one_sequence_share_a_table() {
    let gpu = gpu();
    let mut rows = GpuRows::new(&gpu, 4, 6).unwrap();
    let (first, second) = ([7, 3], [5]);
    let row = |position, block_table| crate::attention::Row { position, block_table };
    rows.set(&gpu, &[row(17, &first), row(18, &first), row(2, &second)])
        .unwrap();
    assert_eq!(rows.table_starts(), [0, 0, 2]);
    assert_eq!(gpu.downloaded(&rows.words).unwrap()[..9], [17, 18, 2, 0, 0, 2, 7, 3, 5]);
    assert!(rows.expect_blocks(8).is_ok());
    assert!(rows.expect_blocks(7).is_err());
    assert!(rows.set(&gpu, &[row(16, &second)]).is_err());
    assert!(rows.set(&gpu, &[row(0, &second); 5]).is_err());
}
