//! The functions behind `fs_reduction`: copy what a component gives, and refuse what cannot be.

use std::cell::RefCell;
use std::slice;
use std::thread::ThreadId;

use flatscape_abi as abi;

use super::reading;
use crate::reduction::{LONGEST_CURVE, Reduced, ReducedValue, Table};

/// Values, columns and curves that are copied, each; the host refuses fewer.
const MOST: usize = 2000;

/// What is behind an `fs_reduction`.
pub(super) struct Reduction<'a> {
    table: &'a Table,
    rows: Vec<abi::FsRows>,
    given: RefCell<Reduced>,
    thread: ThreadId,
}

impl<'a> Reduction<'a> {
    pub(super) fn new(table: &'a Table) -> Reduction<'a> {
        let row = |(name, width, data): &(String, usize, Vec<f64>)| abi::FsRows {
            name: abi::FsString::new(name),
            width: *width,
            data: data.as_ptr(),
        };
        let rows = table.rows.iter().map(row).collect();
        Reduction { table, rows, given: RefCell::default(), thread: std::thread::current().id() }
    }

    /// The table for the plugin; it borrows this.
    pub(super) fn table(&self) -> abi::FsReduction {
        let head = self.table.head.as_ref();
        abi::FsReduction {
            size: size_of::<abi::FsReduction>(),
            host: std::ptr::from_ref(self).cast_mut().cast(),
            samples: self.table.samples(),
            id: self.table.id.as_ptr(),
            y: self.table.y.as_ptr(),
            prediction: self.table.prediction.as_ptr(),
            rows: self.rows.as_ptr(),
            row_count: self.rows.len(),
            features: head.map_or(0, |head| head.0),
            head_weight: head.map_or(std::ptr::null(), |head| head.1.as_ptr()),
            head_bias: head.map_or(std::ptr::null(), |head| head.2.as_ptr()),
            value: Some(value),
            column: Some(column),
            curve: Some(curve),
        }
    }

    pub(super) fn into_given(self) -> Reduced {
        self.given.into_inner()
    }
}

/// Takes a named thing over, in the thread of the call.
///
/// # Safety
/// `reduction` is the table that the host passed to the plugin, `name` a string of the ABI.
unsafe fn give(
    reduction: *const abi::FsReduction,
    name: abi::FsString,
    take: impl FnOnce(&Reduction<'_>, &mut Reduced, String) -> Option<()>,
) -> abi::Status {
    // SAFETY: `host` was set by `table` and lives until the plugin returns.
    let own = unsafe { reduction.as_ref().and_then(|r| r.host.cast::<Reduction<'_>>().as_ref()) };
    let Some(own) = own.filter(|own| own.thread == std::thread::current().id()) else { return abi::INVALID };
    // SAFETY: by the contract of this function.
    let Ok(name) = (unsafe { reading::string(name) }) else { return abi::INVALID };
    let Ok(mut given) = own.given.try_borrow_mut() else { return abi::INVALID };
    if given.values.len() + given.columns.len() + given.curves.len() > MOST {
        return abi::INVALID;
    }
    take(own, &mut given, name).map_or(abi::INVALID, |()| abi::OK)
}

unsafe extern "C" fn value(
    reduction: *const abi::FsReduction,
    name: abi::FsString,
    value: f64,
    low: f64,
    high: f64,
    n: u64,
) -> abi::Status {
    // SAFETY: the plugin passes what it was given.
    unsafe {
        give(reduction, name, |_, given, name| {
            let interval = (!low.is_nan() && !high.is_nan()).then_some((low, high));
            given.values.push(ReducedValue { name, value, interval, n });
            Some(())
        })
    }
}

/// # Safety
/// `data` points to `length` doubles, or is null.
unsafe fn doubles(data: *const f64, length: usize) -> Option<Vec<f64>> {
    if length == 0 {
        return Some(Vec::new());
    }
    if data.is_null() || !data.is_aligned() {
        return None;
    }
    // SAFETY: by the contract of this function.
    Some(unsafe { slice::from_raw_parts(data, length) }.to_vec())
}

unsafe extern "C" fn column(reduction: *const abi::FsReduction, name: abi::FsString, values: *const f64) -> abi::Status {
    // SAFETY: the plugin passes what it was given; a column has a value for every sample.
    unsafe {
        give(reduction, name, |own, given, name| {
            given.columns.push((name, doubles(values, own.table.samples())?));
            Some(())
        })
    }
}

unsafe extern "C" fn curve(
    reduction: *const abi::FsReduction,
    name: abi::FsString,
    x: *const f64,
    y: *const f64,
    length: usize,
) -> abi::Status {
    if length > LONGEST_CURVE {
        return abi::INVALID;
    }
    // SAFETY: the plugin passes what it was given; x and y have `length` values each.
    unsafe {
        give(reduction, name, |_, given, name| {
            given.curves.push((name, doubles(x, length)?, doubles(y, length)?));
            Some(())
        })
    }
}
