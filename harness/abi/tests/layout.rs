//! Freezes sizes, offsets and constants of the ABI, and compares them with the headers through the machine's C compiler.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::PathBuf;
use std::process::Command;

use flatscape_abi as abi;

/// (C struct, its size, its members with their offsets) as the Rust mirror has them.
type Layout = (&'static str, usize, Vec<(&'static str, usize)>);

macro_rules! layout {
    ($c:literal $rust:ident: $($c_field:literal $field:ident),*) => {
        ($c, size_of::<abi::$rust>(), vec![$(($c_field, offset_of!(abi::$rust, $field))),*])
    };
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!("fs_string" FsString: "data" data, "length" length),
        layout!("fs_bytes" FsBytes: "data" data, "length" length),
        layout!("fs_value" FsValue: "type" ty, "boolean" boolean, "integer" integer, "number" number, "text" text),
        layout!("fs_param" FsParam: "name" name, "default_text" default_text, "help" help, "type" ty, "choice_count" choice_count,
            "choices" choices, "minimum" minimum, "maximum" maximum),
        layout!("fs_call" FsCall: "size" size, "host" host, "args" args, "arg_count" arg_count, "log" log, "fail" fail,
            "cancelled" cancelled),
        layout!("fs_task" FsTask: "size" size, "channels" channels, "height" height, "width" width, "classes" classes, "norm" norm,
            "targeted" targeted, "parameters" parameters, "eps" eps, "lo" lo, "hi" hi),
        layout!("fs_graph" FsGraph: "role" role, "format" format, "bytes" bytes),
        layout!("fs_program" FsProgram: "size" size, "graphs" graphs, "graph_count" graph_count, "steps" steps,
            "restarts" restarts, "probes" probes, "replays" replays, "data" data, "bn_attack" bn_attack,
            "attack" attack, "owner" owner, "release" release),
        layout!("fs_component" FsComponent: "size" size, "kind" kind, "goal" goal, "iterates" iterates, "reserved" reserved,
            "id" id, "summary" summary, "source" source, "params" params, "param_count" param_count, "owner" owner,
            "build" build, "extension" extension),
        layout!("fs_plugin" FsPlugin: "size" size, "abi_major" abi_major, "abi_minor" abi_minor, "id" id, "version" version,
            "components" components, "component_count" component_count),
        layout!("fs_tensor" FsTensor: "data" data, "device_type" device_type, "device_id" device_id, "rank" rank,
            "type_code" type_code, "type_bits" type_bits, "type_lanes" type_lanes, "shape" shape, "strides" strides,
            "byte_offset" byte_offset),
        layout!("fs_oracle" FsOracle: "size" size, "host" host, "samples" samples, "x0" x0, "y" y, "target" target,
            "logits" logits, "gradient" gradient, "noise" noise, "active" active, "offer" offer),
        layout!("fs_oracle_component" FsOracleComponent: "size" size, "run" run),
        layout!("fs_rows" FsRows: "name" name, "width" width, "data" data),
        layout!("fs_reduction" FsReduction: "size" size, "host" host, "samples" samples, "id" id, "y" y,
            "prediction" prediction, "rows" rows, "row_count" row_count, "features" features,
            "head_weight" head_weight, "head_bias" head_bias, "value" value, "column" column, "curve" curve),
        layout!("fs_reduce_component" FsReduceComponent: "size" size, "reduce" reduce),
    ]
}

fn constants() -> Vec<(&'static str, i64)> {
    vec![
        ("FS_ABI_MAJOR", abi::ABI_MAJOR.into()),
        ("FS_ABI_MINOR", abi::ABI_MINOR.into()),
        ("FS_OK", abi::OK.into()),
        ("FS_INVALID", abi::INVALID.into()),
        ("FS_UNSUPPORTED", abi::UNSUPPORTED.into()),
        ("FS_FAILED", abi::FAILED.into()),
        ("FS_CANCELLED", abi::CANCELLED.into()),
        ("FS_PANICKED", abi::PANICKED.into()),
        ("FS_AUTO", abi::AUTO.into()),
        ("FS_FLOAT", abi::FLOAT.into()),
        ("FS_INT", abi::INT.into()),
        ("FS_BOOL", abi::BOOL.into()),
        ("FS_TEXT", abi::TEXT.into()),
        ("FS_OBJECTIVE", abi::OBJECTIVE.into()),
        ("FS_COTANGENT", abi::COTANGENT.into()),
        ("FS_INIT", abi::INIT.into()),
        ("FS_STEP", abi::STEP.into()),
        ("FS_EMIT", abi::EMIT.into()),
        ("FS_PROBE", abi::PROBE.into()),
        ("FS_OBSERVE", abi::OBSERVE.into()),
        ("FS_ADVERSARY", abi::ADVERSARY.into()),
        ("FS_COST", abi::COST.into()),
        ("FS_UPDATE", abi::UPDATE.into()),
        ("FS_PERTURB", abi::PERTURB.into()),
        ("FS_REPLAY", abi::REPLAY.into()),
        ("FS_ONNX", abi::ONNX.into()),
        ("FS_TEXT_GRAPH", abi::TEXT_GRAPH.into()),
        ("FS_ATTACK", abi::ATTACK.into()),
        ("FS_METRIC", abi::METRIC.into()),
        ("FS_TRAINER", abi::TRAINER.into()),
        ("FS_OPTIMIZER", abi::OPTIMIZER.into()),
        ("FS_CLEAN", abi::CLEAN.into()),
        ("FS_ADVERSARIAL_ONCE", abi::ADVERSARIAL_ONCE.into()),
        ("FS_ADVERSARIAL_ONLINE", abi::ADVERSARIAL_ONLINE.into()),
        ("FS_BN_EVAL", abi::BN_EVAL.into()),
        ("FS_BN_TRAIN", abi::BN_TRAIN.into()),
        ("FS_BUDGET", abi::BUDGET.into()),
        ("FS_MINIMAL", abi::MINIMAL.into()),
        ("FS_INSIDE", abi::INSIDE.into()),
        ("FS_FREE", abi::FREE.into()),
        ("FS_UNIFORM", abi::UNIFORM.into()),
        ("FS_NORMAL", abi::NORMAL.into()),
        ("FS_RADEMACHER", abi::RADEMACHER.into()),
    ]
}

fn printed() -> String {
    let mut text = String::new();
    for (name, size, fields) in layouts() {
        let _ = writeln!(text, "{name} {size}");
        for (field, offset) in fields {
            let _ = writeln!(text, "  {field} {offset}");
        }
    }
    for (name, value) in constants() {
        let _ = writeln!(text, "{name} {value}");
    }
    text
}

fn header_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/include")
}

#[test]
#[cfg(target_pointer_width = "64")]
fn layout_is_frozen() {
    assert_eq!(printed(), include_str!("layout.txt"), "the ABI changed: that is a new version");
}

#[test]
fn mirror_and_header_agree() {
    let mut program = String::from(
        "#include <stdio.h>\n#include \"ext/flatscape_oracle.h\"\n#include \"ext/flatscape_reduce.h\"\nint main(void) {\n",
    );
    for (name, _, fields) in layouts() {
        let _ = writeln!(program, "printf(\"{name} %zu\\n\", sizeof({name}));");
        for (field, _) in fields {
            let _ = writeln!(program, "printf(\"  {field} %zu\\n\", offsetof({name}, {field}));");
        }
    }
    for (name, _) in constants() {
        let _ = writeln!(program, "printf(\"{name} %lld\\n\", (long long){name});");
    }
    program.push_str("return 0;\n}\n");
    let dir = scratch("agree");
    std::fs::write(dir.join("layout.c"), program).expect("the temporary directory is writable");
    if !compiler("cc") {
        return;
    }
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]).arg(header_dir());
    let built = run(command.arg(dir.join("layout.c")).arg("-o").arg(dir.join("program")));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = run(&mut Command::new(dir.join("program")));
    assert_eq!(String::from_utf8_lossy(&said.stdout), printed());
}

/// The headers of the interface: the core and its extensions.
const HEADERS: &[&str] = &["flatscape_plugin.h", "ext/flatscape_oracle.h", "ext/flatscape_reduce.h"];

#[test]
fn every_member_of_the_headers_is_mirrored() {
    let read = |name: &&str| std::fs::read_to_string(header_dir().join(name)).expect("the header is in the repository");
    let headers: String = HEADERS.iter().map(read).collect();
    let structs = headers.matches("typedef struct fs_").count();
    assert_eq!(structs, layouts().len(), "a struct of the headers is missing in the mirror");
    // constants are what stands before «= NUMBER» in an enumeration, and the versions
    let words = |text: &str| -> Vec<String> {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split(|c| !name(c)).filter(|word| word.starts_with("FS_")).map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for body in headers.split("enum {").skip(1).filter_map(|rest| rest.split_once('}')).map(|(body, _)| body) {
        found.extend(body.split('=').filter_map(|before| words(before).pop()));
    }
    for line in headers.lines().filter(|line| line.starts_with("#define FS_ABI")) {
        found.extend(words(line));
    }
    assert!(found.len() > 30, "{found:?}");
    for word in found {
        assert!(constants().iter().any(|(name, _)| *name == word), "{word} is missing in the mirror");
    }
}

#[test]
fn the_core_is_small_and_needs_no_extension() {
    let core = std::fs::read_to_string(header_dir().join(HEADERS[0])).expect("the header is in the repository");
    assert!(core.lines().count() <= 160, "{} lines", core.lines().count());
    assert!(core.lines().all(|line| !line.starts_with("#include \"")), "it includes the system's headers only");
}

#[test]
fn header_is_clean_in_every_standard() {
    let standards = [("cc", "c", ["c99", "c11", "c17"]), ("c++", "c++", ["c++11", "c++17", "c++20"])];
    for (cc, language, standards) in standards {
        if !compiler(cc) {
            continue;
        }
        for (standard, header) in standards.iter().flat_map(|standard| HEADERS.iter().map(move |header| (standard, header))) {
            let mut command = Command::new(cc);
            command.args(["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", language]);
            command.arg(format!("-std={standard}")).arg(header_dir().join(header));
            let out = run(&mut command);
            assert!(out.status.success(), "{standard}: {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("cargo's temporary directory is writable");
    dir
}

fn compiler(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

fn run(command: &mut Command) -> std::process::Output {
    command.output().expect("the compiler was found a moment ago")
}
