//! The border between Rust and C: the only `extern "C"` functions of a Rust plugin. A panic stops here and becomes a status.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use flatscape_abi as abi;

use crate::ask::{Ask, Error, Task, Value};
use crate::component::Component;
use crate::oracle::Oracle;
use crate::program::{BnAttack, Data, Encoded};
use crate::reduction::Reduction;

/// What the exported symbol returns.
pub type Exported = *const abi::FsPlugin;

/// The tables of this plugin, made once. They are static because nothing frees them.
static TABLES: OnceLock<Tables> = OnceLock::new();

struct Tables(Exported);

// SAFETY: the tables and everything they point to are leaked and never written to after they were made.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

/// Makes the tables of a plugin. Null where the plugin panics while it lists its components.
pub fn export(list: impl FnOnce() -> (&'static str, &'static str, Vec<Component>)) -> Exported {
    let made = catch_unwind(AssertUnwindSafe(|| {
        TABLES
            .get_or_init(|| {
                let (id, version, components) = list();
                Tables(tables(id, version, components))
            })
            .0
    }));
    made.unwrap_or(std::ptr::null())
}

fn tables(id: &'static str, version: &'static str, components: Vec<Component>) -> Exported {
    let components: Vec<*const abi::FsComponent> = components.into_iter().map(component_table).collect();
    leak(abi::FsPlugin {
        size: size_of::<abi::FsPlugin>(),
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        id: abi::FsString::new(id),
        version: abi::FsString::new(version),
        component_count: components.len(),
        components: components.leak().as_ptr(),
    })
}

fn component_table(component: Component) -> *const abi::FsComponent {
    let component: &'static Component = Box::leak(Box::new(component));
    let params: Vec<abi::FsParam> = component
        .params
        .iter()
        .map(|param| {
            let choices: Vec<abi::FsString> = param.choices.iter().map(|c| abi::FsString::new(c)).collect();
            abi::FsParam {
                name: abi::FsString::new(&param.name),
                default_text: abi::FsString::new(&param.default),
                help: abi::FsString::new(&param.help),
                ty: param.ty,
                choice_count: i32::try_from(choices.len()).unwrap_or(0),
                choices: choices.leak().as_ptr(),
                minimum: param.range.0,
                maximum: param.range.1,
            }
        })
        .collect();
    leak(abi::FsComponent {
        size: size_of::<abi::FsComponent>(),
        kind: component.kind,
        goal: component.goal,
        iterates: component.iterates,
        reserved: 0,
        id: abi::FsString::new(&component.id),
        summary: abi::FsString::new(&component.summary),
        source: abi::FsString::new(&component.source),
        param_count: params.len(),
        params: params.leak().as_ptr(),
        owner: std::ptr::from_ref(component).cast_mut().cast(),
        build: component.build.is_some().then_some(build as abi::Build),
        extension: (component.run.is_some() || component.reduce.is_some()).then_some(extension as abi::Extension),
    })
}

fn leak<T>(value: T) -> *const T {
    Box::leak(Box::new(value))
}

/// The table of `oracle/1`, the same for every component of this SDK.
static ORACLE: abi::FsOracleComponent = abi::FsOracleComponent { size: size_of::<abi::FsOracleComponent>(), run: Some(run) };

/// The table of `reduce/1`.
static REDUCTION: abi::FsReduceComponent =
    abi::FsReduceComponent { size: size_of::<abi::FsReduceComponent>(), reduce: Some(reduce) };

unsafe extern "C" fn extension(component: *const abi::FsComponent, id: abi::FsString) -> *const c_void {
    // SAFETY: the host passes a component of this plugin and a valid string.
    let (component, id) = unsafe { (&*(*component).owner.cast::<Component>(), text(id)) };
    match id {
        abi::ORACLE_1 if component.run.is_some() => std::ptr::from_ref(&ORACLE).cast(),
        abi::REDUCE_1 if component.reduce.is_some() => std::ptr::from_ref(&REDUCTION).cast(),
        _ => std::ptr::null(),
    }
}

/// What a program points to until the host releases it.
struct Answer {
    encoded: Encoded,
    graphs: Vec<abi::FsGraph>,
}

unsafe extern "C" fn build(
    component: *const abi::FsComponent,
    call: *const abi::FsCall,
    task: *const abi::FsTask,
    out: *mut abi::FsProgram,
) -> abi::Status {
    guarded(call, || {
        // SAFETY: the host passes a component of this plugin, and tables that live until this function returns.
        let (component, ask) = unsafe { asked(component, call, task)? };
        let make = component.build.as_ref().ok_or_else(|| Error::failed("this component answers no program"))?;
        let made = make(&ask);
        warn(call, &ask);
        let encoded = made?.encode()?;
        let graph = |(role, bytes): &(i32, Vec<u8>)| abi::FsGraph {
            role: *role,
            format: abi::ONNX,
            bytes: abi::FsBytes { data: bytes.as_ptr(), length: bytes.len() },
        };
        let graphs = encoded.graphs.iter().map(graph).collect();
        let answer = Box::new(Answer { encoded, graphs });
        // SAFETY: `out` is the host's, to be filled in.
        let out = unsafe { &mut *out };
        out.graphs = answer.graphs.as_ptr();
        out.graph_count = answer.graphs.len();
        let counts = &answer.encoded;
        (out.steps, out.restarts, out.probes, out.replays) = (counts.steps, counts.restarts, counts.probes, counts.replays);
        out.data = match counts.data {
            Data::Clean => abi::CLEAN,
            Data::AdversarialOnce => abi::ADVERSARIAL_ONCE,
            Data::AdversarialOnline => abi::ADVERSARIAL_ONLINE,
        };
        out.bn_attack = match counts.bn_attack {
            BnAttack::Eval => abi::BN_EVAL,
            BnAttack::Train => abi::BN_TRAIN,
        };
        out.attack = abi::FsString::new(&counts.attack);
        out.owner = Box::into_raw(answer).cast();
        out.release = Some(release);
        Ok(())
    })
}

unsafe extern "C" fn release(program: *mut abi::FsProgram) {
    // SAFETY: the host calls this once with the program that `build` filled in.
    drop(unsafe { Box::from_raw((*program).owner.cast::<Answer>()) });
}

unsafe extern "C" fn run(
    component: *const abi::FsComponent,
    call: *const abi::FsCall,
    task: *const abi::FsTask,
    oracle: *const abi::FsOracle,
) -> abi::Status {
    guarded(call, || {
        // SAFETY: the host passes a component of this plugin, and tables that live until this function returns.
        let (component, ask) = unsafe { asked(component, call, task)? };
        let attack = component.run.as_ref().ok_or_else(|| Error::failed("this component does not run"))?;
        // SAFETY: as above; the attack stays in this thread, since the oracle holds raw pointers.
        let oracle = unsafe { Oracle::new(&*call, &*oracle, &ask.task) };
        attack(&ask, &oracle)
    })
}

unsafe extern "C" fn reduce(
    component: *const abi::FsComponent,
    call: *const abi::FsCall,
    task: *const abi::FsTask,
    reduction: *const abi::FsReduction,
) -> abi::Status {
    guarded(call, || {
        // SAFETY: the host passes a component of this plugin, and tables that live until this function returns.
        let (component, ask) = unsafe { asked(component, call, task)? };
        let make = component.reduce.as_ref().ok_or_else(|| Error::failed("this component does not reduce"))?;
        // SAFETY: as above.
        let reduction = unsafe { Reduction::new(&*reduction, &ask.task) };
        let made = make(&ask, &reduction);
        warn(call, &ask);
        made
    })
}

/// Runs a component's code. What it says and a panic go to the host in words; the status says which it was.
fn guarded(call: *const abi::FsCall, code: impl FnOnce() -> Result<(), Error>) -> abi::Status {
    let (status, words) = match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(())) => return abi::OK,
        Ok(Err(error)) => (error.status, error.words),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let words = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".into());
            // dropping what was thrown may panic again
            std::mem::forget(panic);
            (abi::PANICKED, words)
        }
    };
    // SAFETY: `call` is the host's for the time of this call; the words are copied.
    unsafe {
        match (*call).fail {
            Some(fail) => fail(call, status, abi::FsString::new(&words)),
            None => status,
        }
    }
}

/// Passes on what a component warned about.
fn warn(call: *const abi::FsCall, ask: &Ask) {
    for words in ask.warnings.borrow().iter() {
        // SAFETY: `call` is the host's for the time of this call; the words are copied.
        unsafe {
            if let Some(log) = (*call).log {
                log(call, 1, abi::FsString::new(words));
            }
        }
    }
}

/// The component behind a table, and the question.
///
/// # Safety
/// The tables are valid; the component is one of this plugin.
unsafe fn asked(
    component: *const abi::FsComponent,
    call: *const abi::FsCall,
    task: *const abi::FsTask,
) -> Result<(&'static Component, Ask), Error> {
    // SAFETY: by the contract of this function.
    let (component, call, task) = unsafe { (&*(*component).owner.cast::<Component>(), &*call, &*task) };
    if call.arg_count != component.params.len() {
        return Err(Error::failed(format!("{} arguments for {} parameters", call.arg_count, component.params.len())));
    }
    let mut values = Vec::with_capacity(call.arg_count);
    for position in 0..call.arg_count {
        // SAFETY: `args` holds `arg_count` values.
        values.push(unsafe { value(&*call.args.add(position)) });
    }
    let task = Task {
        shape: [task.channels, task.height, task.width].map(|n| n as usize),
        classes: task.classes as usize,
        // SAFETY: the host passes a valid string.
        norm: unsafe { text(task.norm) }.to_owned(),
        parameters: task.parameters as usize,
        targeted: task.targeted != 0,
        eps: task.eps,
        lo: task.lo,
        hi: task.hi,
    };
    Ok((component, Ask::new(&component.params, values, task)))
}

/// # Safety
/// The text of the value is valid where its type is text.
unsafe fn value(value: &abi::FsValue) -> Value {
    match value.ty {
        abi::FLOAT => Value::Float(value.number),
        abi::INT => Value::Int(value.integer),
        abi::BOOL => Value::Bool(value.boolean != 0),
        // SAFETY: by the contract of this function.
        abi::TEXT => Value::Text(unsafe { text(value.text) }.to_owned()),
        _ => Value::Auto,
    }
}

/// # Safety
/// `text.data` points to `text.length` bytes of UTF-8 that outlive the result.
unsafe fn text<'a>(text: abi::FsString) -> &'a str {
    if text.data.is_null() || text.length == 0 {
        return "";
    }
    // SAFETY: by the contract of this function.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
    std::str::from_utf8(bytes).unwrap_or("")
}
