//! A loaded plugin: `dlopen`, the one symbol, `build` and `run` through the C tables. Never unloaded.

use std::cell::RefCell;
use std::path::Path;
use std::thread::ThreadId;

use flatscape_abi as abi;
use flatscape_graph::hash;

use super::port::{self, Port};
use super::reading;
use super::reduction::Reduction;
use crate::builtin;
use crate::component::{Description, Kind};
use crate::params::{Arguments, Value};
use crate::program::RawProgram;
use crate::reduction::{Reduced, Table};
use crate::task::Task;
use crate::wire::{Fault, Refusal};

/// Where log lines of a plugin go: level and words.
pub(crate) type Logger<'a> = &'a dyn Fn(i32, &str);

/// A plugin in this process.
#[derive(Debug)]
pub(crate) struct Loaded {
    plugin: *const abi::FsPlugin,
}

// SAFETY: what `flatscape_plugin` returns is static and never written; the contract of the ABI is one call at a time, which
// the owners of a `Loaded` keep (a worker has one thread, and the host in process holds a lock).
unsafe impl Send for Loaded {}

impl Loaded {
    /// Loads a file whose content has this hash. The error is a clause about the plugin.
    pub(crate) fn open(path: &Path, sha256: &str) -> Result<Loaded, (Refusal, String)> {
        let bytes = std::fs::read(path).map_err(|e| (Refusal::CannotLoad, format!("cannot be read: {e}")))?;
        if hash::sha256(&bytes) != sha256 {
            return Err((Refusal::Changed, "changed while it was being loaded".into()));
        }
        drop(bytes);
        if let Some(entry) = builtin::entry(path) {
            return Loaded::of(entry);
        }
        // SAFETY: loading runs the plugin's constructors. That is what a plugin is; they run in this process, which exists
        // for it, or in the host's if the user requested that.
        let library = unsafe { libloading::Library::new(path) };
        let library = library.map_err(|e| (Refusal::CannotLoad, format!("cannot be loaded: {}", words_of(&e))))?;
        // it stays for the life of the process: threads of it may run, and its tables are static
        let library = Box::leak(Box::new(library));
        // SAFETY: the symbol of this name has this type in every version of the ABI.
        let entry = unsafe { library.get::<abi::PluginEntry>(abi::SYMBOL.as_bytes()) };
        let entry = entry.map_err(|_| (Refusal::NoSymbol, format!("does not export `{}`", abi::SYMBOL)))?;
        Loaded::of(*entry)
    }

    /// Calls the entry. The error is a clause about the plugin.
    fn of(entry: abi::PluginEntry) -> Result<Loaded, (Refusal, String)> {
        // SAFETY: the contract of the symbol: callable once loaded, from this thread.
        let plugin = unsafe { entry() };
        // SAFETY: the result points to a plugin struct of some version, or is null.
        let (major, minor) = unsafe { reading::versions(plugin) }.map_err(|clause| (Refusal::Malformed, clause))?;
        let fits = if abi::ABI_MAJOR == 0 { (major, minor) == (0, abi::ABI_MINOR) } else { major == abi::ABI_MAJOR };
        if !fits {
            let ours = format!("{}.{}", abi::ABI_MAJOR, abi::ABI_MINOR);
            return Err((Refusal::WrongVersion, format!("has plugin ABI {major}.{minor}; this flatscape has {ours}")));
        }
        Ok(Loaded { plugin })
    }

    /// What the plugin says about itself. The error is a clause.
    pub(crate) fn describe(&self) -> Result<Description, String> {
        // SAFETY: `open` checked the version; the plugin's tables are static.
        unsafe { reading::description(self.plugin) }
    }

    /// Asks a component for its program.
    pub(crate) fn build(
        &self,
        kind: Kind,
        id: &str,
        arguments: &Arguments,
        task: &Task,
        log: Logger<'_>,
    ) -> Result<RawProgram, Fault> {
        let component = self.component(kind, id)?;
        let build = component.build.ok_or_else(|| failed(format!("component {id} has no `build`")))?;
        let call = Call::new(arguments, log, None);
        let task = c_task(task);
        let mut out = abi::FsProgram {
            size: size_of::<abi::FsProgram>(),
            graphs: std::ptr::null(),
            graph_count: 0,
            steps: 0,
            restarts: 0,
            probes: 0,
            replays: 0,
            data: abi::CLEAN,
            bn_attack: abi::BN_EVAL,
            attack: abi::FsString::EMPTY,
            owner: std::ptr::null_mut(),
            release: None,
        };
        let c_call = call.c_call();
        // SAFETY: everything passed lives until the call returns; the component is static.
        let status = unsafe { build(component, &c_call, &task, &mut out) };
        call.outcome(status)?;
        // SAFETY: `build` answered 0, so `out` is filled in.
        let program = unsafe { reading::program(&out) };
        if let Some(release) = out.release {
            // SAFETY: called once, after copying, in the thread of `build`.
            unsafe { release(&mut out) };
        }
        program.map_err(failed)
    }

    /// Lets a component of `oracle/1` attack the batch behind a port.
    pub(crate) fn run(
        &self,
        kind: Kind,
        id: &str,
        arguments: &Arguments,
        task: &Task,
        port: &mut dyn Port,
        log: Logger<'_>,
    ) -> Result<(), Fault> {
        let component = self.component(kind, id)?;
        // SAFETY: the component is static and of this version.
        let table = unsafe { reading::extension(component, abi::ORACLE_1) }.cast::<abi::FsOracleComponent>();
        if table.is_null() {
            return Err(failed(format!("component {id} does not implement oracle/1")));
        }
        // SAFETY: `describe` read this table and found `run`; it is static.
        let run = unsafe { (*table).run }.ok_or_else(|| failed(format!("component {id} has no `run`")))?;
        let oracle = port::Oracle::new(port, task);
        let call = Call::new(arguments, log, Some(&oracle));
        let (c_call, c_task) = (call.c_call(), c_task(task));
        let c_oracle = oracle.table();
        // SAFETY: everything passed lives until the call returns; the component is static.
        let status = unsafe { run(component, &c_call, &c_task, &c_oracle) };
        call.outcome(status)
    }

    /// Lets a component of `reduce/1` reduce the rows of all samples.
    pub(crate) fn reduce(
        &self,
        kind: Kind,
        id: &str,
        arguments: &Arguments,
        task: &Task,
        table: &Table,
        log: Logger<'_>,
    ) -> Result<Reduced, Fault> {
        let component = self.component(kind, id)?;
        // SAFETY: the component is static and of this version.
        let found = unsafe { reading::extension(component, abi::REDUCE_1) }.cast::<abi::FsReduceComponent>();
        if found.is_null() {
            return Err(failed(format!("component {id} does not implement reduce/1")));
        }
        // SAFETY: `describe` read this table and found `reduce`; it is static.
        let reduce = unsafe { (*found).reduce }.ok_or_else(|| failed(format!("component {id} has no `reduce`")))?;
        let reduction = Reduction::new(table);
        let call = Call::new(arguments, log, None);
        let (c_call, c_task, c_table) = (call.c_call(), c_task(task), reduction.table());
        // SAFETY: everything passed lives until the call returns; the component is static.
        let status = unsafe { reduce(component, &c_call, &c_task, &c_table) };
        call.outcome(status)?;
        Ok(reduction.into_given())
    }

    fn component(&self, kind: Kind, id: &str) -> Result<&'static abi::FsComponent, Fault> {
        // SAFETY: the plugin's tables are static, and `describe` has walked them before.
        unsafe {
            let plugin = &*self.plugin;
            let all = std::slice::from_raw_parts(plugin.components, plugin.component_count);
            let wanted = |c: &abi::FsComponent| c.kind == kind.code() && reading::string(c.id).is_ok_and(|text| text == id);
            let found = all.iter().find(|&&c| wanted(&*c));
            found.map(|&c| &*c).ok_or_else(|| failed(format!("there is no component {id} any more")))
        }
    }
}

/// What is behind an `fs_call`.
struct Call<'a> {
    values: Vec<abi::FsValue>,
    words: RefCell<Option<(abi::Status, String)>>,
    log: Logger<'a>,
    oracle: Option<&'a port::Oracle<'a>>,
    thread: ThreadId,
}

impl<'a> Call<'a> {
    fn new(arguments: &Arguments, log: Logger<'a>, oracle: Option<&'a port::Oracle<'a>>) -> Call<'a> {
        let values = arguments.0.iter().map(|a| c_value(&a.value)).collect();
        Call { values, words: RefCell::new(None), log, oracle, thread: std::thread::current().id() }
    }

    /// The table for the plugin; it borrows this call and the arguments.
    fn c_call(&self) -> abi::FsCall {
        abi::FsCall {
            size: size_of::<abi::FsCall>(),
            host: std::ptr::from_ref(self).cast_mut().cast(),
            args: self.values.as_ptr(),
            arg_count: self.values.len(),
            log: Some(log),
            fail: Some(fail),
            cancelled: Some(cancelled),
        }
    }

    fn outcome(&self, status: abi::Status) -> Result<(), Fault> {
        if status == abi::OK {
            return Ok(());
        }
        let words = self.words.take().map(|(_, words)| words).unwrap_or_default();
        Err(Fault { status, words })
    }
}

/// # Safety
/// `call` is the one that the host passed to the plugin, in its thread.
unsafe fn behind<'a>(call: *const abi::FsCall) -> Option<&'a Call<'a>> {
    // SAFETY: `host` was set by `c_call` and lives until the plugin returns.
    let call = unsafe { (*call).host.cast::<Call<'a>>().as_ref() }?;
    (call.thread == std::thread::current().id()).then_some(call)
}

unsafe extern "C" fn log(call: *const abi::FsCall, level: i32, words: abi::FsString) {
    // SAFETY: the plugin passes what it was given.
    if let (Some(call), Ok(words)) = unsafe { (behind(call), reading::string(words)) } {
        (call.log)(level, &words);
    }
}

unsafe extern "C" fn fail(call: *const abi::FsCall, status: abi::Status, words: abi::FsString) -> abi::Status {
    // SAFETY: the plugin passes what it was given.
    if let Some(call) = unsafe { behind(call) } {
        // SAFETY: as above.
        let words = unsafe { reading::string(words) }.unwrap_or_else(|clause| format!("(its explanation {clause})"));
        call.words.replace(Some((status, words)));
    }
    status
}

unsafe extern "C" fn cancelled(call: *const abi::FsCall) -> i32 {
    // SAFETY: `host` was set by `c_call`; the flag may be read in any thread.
    let call = unsafe { (*call).host.cast::<Call<'_>>().as_ref() };
    call.and_then(|c| c.oracle).is_some_and(port::Oracle::is_cancelled).into()
}

fn c_task(task: &Task) -> abi::FsTask {
    let [channels, height, width] = task.shape.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    abi::FsTask {
        size: size_of::<abi::FsTask>(),
        channels,
        height,
        width,
        classes: u32::try_from(task.classes).unwrap_or(u32::MAX),
        norm: abi::FsString::new(&task.norm),
        targeted: task.targeted.into(),
        parameters: u32::try_from(task.parameters).unwrap_or(u32::MAX),
        eps: task.eps,
        lo: task.lo,
        hi: task.hi,
    }
}

/// Borrows the text of the value.
fn c_value(value: &Value) -> abi::FsValue {
    let mut out = abi::FsValue { ty: abi::AUTO, boolean: 0, integer: 0, number: 0.0, text: abi::FsString::EMPTY };
    match value {
        Value::Auto => {}
        Value::Float(v) => (out.ty, out.number) = (abi::FLOAT, *v),
        Value::Int(v) => (out.ty, out.integer) = (abi::INT, *v),
        Value::Bool(v) => (out.ty, out.boolean) = (abi::BOOL, (*v).into()),
        Value::Text(v) => (out.ty, out.text) = (abi::TEXT, abi::FsString::new(v)),
    }
    out
}

fn failed(words: String) -> Fault {
    Fault { status: abi::FAILED, words }
}

/// libloading puts what the system said into the source.
fn words_of(error: &libloading::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
