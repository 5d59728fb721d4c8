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

/// Passes if every number is within `tolerance` times its true magnitude, or as far from 0.
#[track_caller]
pub(crate) fn assert_near(found: &[f32], truth: &[f32], tolerance: f32) {
    assert_eq!(found.len(), truth.len());
    for (index, (found, truth)) in found.iter().zip(truth).enumerate() {
        let off = (found - truth).abs();
        assert!(
            off <= tolerance * truth.abs() + f32::MIN_POSITIVE,
            "{index}: {found} against {truth}"
        );
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
    gpu.copy((&buffer, 0), (&mut copy, 0), 3).unwrap();
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

#[test]
fn lanes_exchange_what_they_should() {
    let gpu = gpu();
    let found = gpu.zeroed::<u32>("found", 8 * 32).unwrap();
    // SAFETY: `check_exchanges(found)` writes 8 numbers for each of 32 lanes.
    unsafe { gpu.launch(Launch::line("check_exchanges", 1, 32), [found.arg()]) }.unwrap();
    let found = gpu.downloaded(&found).unwrap();
    for lane in 0..32u32 {
        let of = |row: usize| found[row * 32 + lane as usize];
        let bytes = (0x80ff_7f01 + lane).to_le_bytes().map(|byte| i32::from(byte as i8));
        let dot = lane as i32 + bytes[0] * 5 + bytes[1] * 4 + bytes[2] * 3 + bytes[3] * 2;
        let next = |end: u32, value: u32| if lane + 1 < end { value + 1 } else { value };
        let of_half = if lane < 16 {
            next(16, 100 + lane)
        } else {
            next(32, 1100 + lane)
        };
        let down = if lane + 3 < 32 { 103 + lane } else { 100 + lane };
        let up = if lane >= 3 { 97 + lane } else { 100 + lane };
        assert_eq!((of(0), of(1), of(2)), (100 + (lane ^ 5), down, up), "lane {lane}");
        let ballot = (0..32)
            .filter(|lane| lane % 3 == 0)
            .fold(0, |bits, lane| bits | 1 << lane);
        assert_eq!((of(3), of(4)), (107 + lane / 8 * 8, ballot), "lane {lane}");
        assert_eq!((of(5), of(6), of(7) as i32), (of_half, 1, dot), "lane {lane}");
    }
}

#[test]
fn a_block_adds_up_what_lies_in_its_shared_memory() {
    let gpu = gpu();
    for threads in [32, 64, 1024] {
        let values: Vec<f32> = (0..threads).map(|i| i as f32).collect();
        let (values, sums) = (
            gpu.uploaded("values", &values).unwrap(),
            gpu.zeroed::<f32>("sums", threads).unwrap(),
        );
        let launch = Launch {
            shared_bytes: 4 * threads as u32,
            ..Launch::line("check_block", 1, threads as u32)
        };
        // SAFETY: `check_block(values, sums)`, a number for each thread.
        unsafe { gpu.launch(launch, [values.arg(), sums.arg()]) }.unwrap();
        let sum = (threads * (threads - 1) / 2) as f32;
        assert_eq!(gpu.downloaded(&sums).unwrap(), vec![sum; threads]);
    }
}

#[test]
fn f16_is_rounded_to_nearest_even() {
    use half::f16;
    let (gpu, mut noise) = (gpu(), Noise(8));
    let halves = (0..=u16::MAX).map(f16::from_bits).filter(|half| half.is_finite());
    let mut values: Vec<f32> = halves.map(f16::to_f32).collect();
    // Between any two of them: just below, at and just above the middle.
    for bits in 0..0x7bffu16 {
        let middle = (f16::from_bits(bits).to_f32() + f16::from_bits(bits + 1).to_f32()) / 2.0;
        values.extend([middle.next_down(), middle, middle.next_up(), -middle]);
    }
    values.extend([
        65519.9,
        65520.0,
        1e30,
        f32::INFINITY,
        -f32::INFINITY,
        1e-8,
        2.9e-8,
        -3e-8,
        f32::MIN_POSITIVE,
    ]);
    values.extend(noise.values(1000).iter().map(|value| value * 1e-4));
    let count = values.len();
    let (on_card, bits) = (
        gpu.uploaded("values", &values).unwrap(),
        gpu.zeroed::<u32>("bits", count).unwrap(),
    );
    let back = gpu.zeroed::<f32>("back", count).unwrap();
    let launch = Launch::line("check_halves", (count as u32).div_ceil(256), 256);
    let arguments = [on_card.arg(), bits.arg(), back.arg(), (count as u32).into()];
    // SAFETY: `check_halves(values, bits, back, count)`, `count` numbers each.
    unsafe { gpu.launch(launch, arguments) }.unwrap();
    let (bits, back) = (gpu.downloaded(&bits).unwrap(), gpu.downloaded(&back).unwrap());
    for ((value, bits), back) in values.iter().zip(bits).zip(back) {
        let truth = f16::from_f32(*value);
        assert_eq!(bits, u32::from(truth.to_bits()), "{value}");
        assert_eq!(back, truth.to_f32(), "{value}");
    }
}

#[test]
fn the_matrix_unit_multiplies_matrices() {
    use half::f16;
    let (gpu, mut noise) = (gpu(), Noise(9));
    let mut halves = |count| -> Vec<f16> { noise.values(count).into_iter().map(f16::from_f32).collect() };
    let (a, b) = (halves(16 * 8), halves(8 * 8));
    let start: Vec<f32> = (0..16 * 8).map(|i| i as f32).collect();
    let mut d = gpu.uploaded("d", &start).unwrap();
    let (left, right) = (gpu.uploaded("a", &a).unwrap(), gpu.uploaded("b", &b).unwrap());
    // SAFETY: `check_mma(a, b, d)` with 16x8, 8x8 and 16x8 numbers.
    unsafe { gpu.launch(Launch::line("check_mma", 1, 32), [left.arg(), right.arg(), d.arg()]) }.unwrap();
    let found = gpu.downloaded(&d).unwrap();
    for (row, column) in (0..16 * 8).map(|i| (i / 8, i % 8)) {
        let products = (0..8).map(|k| a[row * 8 + k].to_f64() * b[k * 8 + column].to_f64());
        let truth = start[row * 8 + column] as f64 + products.sum::<f64>();
        // The matrix unit adds 8 products with less than f32's last bits.
        assert!(
            (f64::from(found[row * 8 + column]) - truth).abs() < 1e-4,
            "{row}, {column}"
        );
    }
    gpu.upload(&mut d, 0, &start).unwrap();
}

/// Runs `fault` in a second program, which it ends, and returns what that said.
#[cfg(feature = "cuda-emulator")]
fn said_by_the_emulator(test: &str, fault: impl FnOnce()) -> Option<String> {
    const CHILD: &str = "TANDEM_TEST_FAULT";
    if std::env::var_os(CHILD).is_some() {
        fault();
        return None;
    }
    let own = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(own);
    child
        .args(["--exact", &format!("cuda::tests::{test}"), "--nocapture"])
        .env(CHILD, "1");
    let child = child.output().unwrap();
    assert!(!child.status.success(), "{test} went well");
    Some(String::from_utf8_lossy(&child.stderr).into_owned())
}

/// On a card it would hang; the emulator says who waits for what.
#[cfg(feature = "cuda-emulator")]
#[test]
fn a_barrier_that_not_all_reach_ends_the_program() {
    let said = said_by_the_emulator("a_barrier_that_not_all_reach_ends_the_program", || {
        let gpu = gpu();
        let found = gpu.zeroed::<u32>("found", 32).unwrap();
        // SAFETY: `check_deadlock(found)` writes a number for each of 32 lanes, if it could.
        unsafe { gpu.launch(Launch::line("check_deadlock", 1, 32), [found.arg()]) }.unwrap();
    });
    if let Some(said) = said {
        assert!(
            said.contains("nobody can go on") && said.contains("check_deadlock"),
            "{said}"
        );
        assert!(
            said.contains("thread 0 is at the barrier") && said.contains("thread 31 waits for its warp"),
            "{said}"
        );
    }
}

#[cfg(all(feature = "cuda-emulator", target_os = "linux"))]
#[test]
fn what_is_written_past_a_buffer_ends_the_program() {
    let said = said_by_the_emulator("what_is_written_past_a_buffer_ends_the_program", || {
        let gpu = gpu();
        let found = gpu.zeroed::<u32>("found", 32).unwrap();
        // SAFETY: none: `check_bounds(found, count, index)` writes to element 32 of 32, where the guard is.
        unsafe { gpu.launch(Launch::line("check_bounds", 1, 32), [found.arg(), 32.into(), 0.into()]) }.unwrap();
    });
    if let Some(said) = said {
        assert!(
            said.contains("past a buffer's end") && said.contains("check_bounds"),
            "{said}"
        );
    }
}

#[cfg(all(feature = "cuda-emulator", target_os = "linux"))]
#[test]
fn what_is_written_past_an_array_ends_the_program() {
    let said = said_by_the_emulator("what_is_written_past_an_array_ends_the_program", || {
        let gpu = gpu();
        let found = gpu.zeroed::<u32>("found", 32).unwrap();
        // SAFETY: none: `check_bounds(found, count, index)` writes to element 32 of the array, where a trap is.
        unsafe { gpu.launch(Launch::line("check_bounds", 1, 32), [found.arg(), 0.into(), 1.into()]) }.unwrap();
    });
    if let Some(said) = said {
        assert!(
            said.contains("past an array's end") && said.contains("check_bounds"),
            "{said}"
        );
    }
}
