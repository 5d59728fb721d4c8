//! The readable truth, which the compiler vectorises on every machine.

/// Turns one head `[2 * half]` whose pairs are (i, i + half).
#[inline]
pub fn turn_halves(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (first, second) = head.split_at_mut(cosines.len());
    for (((x, y), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
        (*x, *y) = (*x * cosine - *y * sine, *x * sine + *y * cosine);
    }
}

/// Turns one head `[2 * half]` whose pairs are (2i, 2i + 1).
#[inline]
pub fn turn_neighbours(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    for (([x, y], cosine), sine) in head.as_chunks_mut::<2>().0.iter_mut().zip(cosines).zip(sines) {
        (*x, *y) = (*x * cosine - *y * sine, *x * sine + *y * cosine);
    }
}
