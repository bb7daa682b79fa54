//! Reading what a plugin points at: strings, arrays, structs. A wrong pointer kills this process, which is why it is not the
//! host's; what can be seen to be wrong (null, absurd lengths, no UTF-8) becomes a clause.

use std::ffi::c_void;

use flatscape_abi as abi;

use crate::component::{Described, DescribedParam, Description};
use crate::program::{RawGraph, RawProgram};

const LONGEST_TEXT: usize = 1 << 16;
const LONGEST_LIST: usize = 1 << 12;
const LARGEST_GRAPH: usize = 1 << 28;

/// Copies a string. The error is a clause: «is null».
///
/// # Safety
/// `text.data` points to `text.length` readable bytes, or is null.
pub(super) unsafe fn string(text: abi::FsString) -> Result<String, String> {
    if text.length == 0 {
        return Ok(String::new());
    }
    if text.data.is_null() {
        return Err("is null".into());
    }
    if text.length > LONGEST_TEXT {
        return Err(format!("has {} bytes; at most {LONGEST_TEXT} are possible", text.length));
    }
    // SAFETY: by the contract of this function; null was refused.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
    String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8".into())
}

/// A list behind a pointer and a count.
///
/// # Safety
/// `data` points to `count` values of `T`, or is null; it stays readable for `'a`.
unsafe fn list<'a, T>(data: *const T, count: usize, what: &str) -> Result<&'a [T], String> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(format!("its list of {what} is null"));
    }
    if !data.is_aligned() {
        return Err(format!("its list of {what} is misaligned"));
    }
    if count > LONGEST_LIST {
        return Err(format!("it lists {count} {what}; at most {LONGEST_LIST} are possible"));
    }
    // SAFETY: by the contract of this function; null and misaligned pointers were refused.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// A struct that begins with its size and may be larger than the one this host knows.
///
/// # Safety
/// `data` points to a `T` that begins with its size, or is null; it stays readable for `'a`.
unsafe fn sized<'a, T>(data: *const T, what: &str) -> Result<&'a T, String> {
    if data.is_null() {
        return Err(format!("{what} is null"));
    }
    if !data.is_aligned() {
        return Err(format!("{what} is misaligned"));
    }
    // SAFETY: by the contract of this function the first member is a readable size.
    let size = unsafe { *data.cast::<usize>() };
    if size < size_of::<T>() {
        return Err(format!("{what} has {size} bytes; this host needs {}", size_of::<T>()));
    }
    // SAFETY: the struct is at least as large as `T`.
    Ok(unsafe { &*data })
}

/// The versions of a plugin, read before anything else of it.
///
/// # Safety
/// `plugin` points to a plugin struct of any version, or is null.
pub(super) unsafe fn versions(plugin: *const abi::FsPlugin) -> Result<(u32, u32), String> {
    if plugin.is_null() || !plugin.is_aligned() {
        return Err("flatscape_plugin() returned no plugin (null)".into());
    }
    // SAFETY: size, abi_major and abi_minor are the first members in every version.
    Ok(unsafe { ((*plugin).abi_major, (*plugin).abi_minor) })
}

/// Everything that a plugin says about itself. The error is a clause.
///
/// # Safety
/// `plugin` points to a plugin of this ABI version that stays where it is.
pub(super) unsafe fn description(plugin: *const abi::FsPlugin) -> Result<Description, String> {
    // SAFETY: by the contract of this function, here and below: pointers lead where the ABI says, or are null.
    unsafe {
        let plugin = sized(plugin, "the plugin's table")?;
        let id = string(plugin.id).map_err(|c| format!("the plugin's id {c}"))?;
        let version = string(plugin.version).map_err(|c| format!("the plugin's version {c}"))?;
        let mut components = Vec::new();
        for (position, &component) in list(plugin.components, plugin.component_count, "components")?.iter().enumerate() {
            components.push(described(component).map_err(|c| format!("component {position}: {c}"))?);
        }
        Ok(Description { id, version, components })
    }
}

/// # Safety
/// As for [`description`].
unsafe fn described(component: *const abi::FsComponent) -> Result<Described, String> {
    // SAFETY: by the contract of this function.
    unsafe {
        let component = sized(component, "its table")?;
        let id = string(component.id).map_err(|c| format!("its id {c}"))?;
        let mut params = Vec::new();
        for param in list(component.params, component.param_count, "parameters")? {
            params.push(param_of(param)?);
        }
        Ok(Described {
            id,
            kind: component.kind,
            goal: component.goal,
            iterates: component.iterates,
            summary: string(component.summary).map_err(|c| format!("its summary {c}"))?,
            source: string(component.source).map_err(|c| format!("its source {c}"))?,
            params,
            builds: component.build.is_some(),
            extensions: extensions(component)?,
        })
    }
}

/// # Safety
/// As for [`description`].
unsafe fn param_of(param: &abi::FsParam) -> Result<DescribedParam, String> {
    // SAFETY: by the contract of this function.
    unsafe {
        let name = string(param.name).map_err(|c| format!("the name of a parameter {c}"))?;
        let of = |what: &str, clause: String| format!("the {what} of its parameter \"{name}\" {clause}");
        let mut choices = Vec::new();
        let count = usize::try_from(param.choice_count).map_err(|_| of("number of choices", "is negative".into()))?;
        if !param.choices.is_null() {
            for &choice in list(param.choices, count, "choices")? {
                choices.push(string(choice).map_err(|c| of("choice", c))?);
            }
        }
        let limit = |v: f64| if v.is_nan() { None } else { Some(v.clamp(f64::MIN, f64::MAX)) };
        Ok(DescribedParam {
            ty: param.ty,
            default: string(param.default_text).map_err(|c| of("default", c))?,
            help: string(param.help).map_err(|c| of("help", c))?,
            choices,
            minimum: limit(param.minimum),
            maximum: limit(param.maximum),
            name,
        })
    }
}

/// # Safety
/// As for [`description`].
unsafe fn extensions(component: &abi::FsComponent) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    // SAFETY: by the contract of this function; the table behind an id has the type of that id.
    unsafe {
        let oracle = extension(component, abi::ORACLE_1).cast::<abi::FsOracleComponent>();
        if !oracle.is_null() {
            sized(oracle, "its table for oracle/1")?.run.ok_or("its table for oracle/1 has no `run`")?;
            found.push(abi::ORACLE_1.to_owned());
        }
        let reduction = extension(component, abi::REDUCE_1).cast::<abi::FsReduceComponent>();
        if !reduction.is_null() {
            sized(reduction, "its table for reduce/1")?.reduce.ok_or("its table for reduce/1 has no `reduce`")?;
            found.push(abi::REDUCE_1.to_owned());
        }
    }
    Ok(found)
}

/// The table of an extension, or null.
///
/// # Safety
/// As for [`description`].
pub(super) unsafe fn extension(component: &abi::FsComponent, id: &str) -> *const c_void {
    match component.extension {
        // SAFETY: the function is the component's own; `id` lives for the call.
        Some(function) => unsafe { function(component, abi::FsString::new(id)) },
        None => std::ptr::null(),
    }
}

/// Copies a program. The error is a clause.
///
/// # Safety
/// `program` was filled in by `build` with status 0.
pub(super) unsafe fn program(program: &abi::FsProgram) -> Result<RawProgram, String> {
    // SAFETY: by the contract of this function.
    let graphs = unsafe { list(program.graphs, program.graph_count, "graphs")? };
    let mut copied = Vec::with_capacity(graphs.len());
    for (position, graph) in graphs.iter().enumerate() {
        if graph.bytes.length > LARGEST_GRAPH {
            return Err(format!("graph {position} has {} bytes; at most {LARGEST_GRAPH} are possible", graph.bytes.length));
        }
        if graph.bytes.data.is_null() {
            return Err(format!("graph {position} is null"));
        }
        // SAFETY: by the contract of this function; null was refused.
        let bytes = unsafe { std::slice::from_raw_parts(graph.bytes.data, graph.bytes.length) };
        copied.push(RawGraph { role: graph.role, format: graph.format, bytes: bytes.to_vec() });
    }
    Ok(RawProgram {
        graphs: copied,
        steps: program.steps,
        restarts: program.restarts,
        probes: program.probes,
        replays: program.replays,
        data: program.data,
        bn_attack: program.bn_attack,
        // SAFETY: by the contract of this function.
        attack: unsafe { string(program.attack) }.map_err(|clause| format!("its inner attack {clause}"))?,
    })
}
