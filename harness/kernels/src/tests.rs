//! What the tests of several kernels need: numbers, and ways to do jobs.

/// Numbers between −1 and 1 that repeat after 251.
pub(crate) fn numbers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * step) % 251) as f32 / 125.0 - 1.0).collect()
}

pub(crate) fn one_by_one(count: usize, job: &(dyn Fn(usize) + Sync)) -> Result<(), ()> {
    (0..count).for_each(job);
    Ok(())
}

pub(crate) fn backwards(count: usize, job: &(dyn Fn(usize) + Sync)) -> Result<(), ()> {
    (0..count).rev().for_each(job);
    Ok(())
}
