//! The border of a Rust plugin as a C host sees it: tables, answers, and a panic that becomes a status with words.

use std::cell::RefCell;
use std::ffi::c_void;

use flatscape_abi as abi;
use flatscape_sdk::{Component, Error, Param};

fn components() -> Vec<Component> {
    vec![
        Component::attack("fine", "one step")
            .param(Param::int("steps", 3, "how many").range(1.0, 9.0))
            .param(Param::float("alpha", "auto", "how long"))
            .build(|ask| {
                assert_eq!(ask.maybe_float("alpha"), None);
                ask.warn("slowly");
                Ok(ask.program().step(|g| g.give("x_next", g.x() + g.grad().sign() * g.eps())).steps(ask.int("steps")))
            }),
        Component::attack("panics", "panics").build(|ask| {
            let classes = ask.task.classes;
            panic!("index {classes} is out of range")
        }),
        Component::attack("refuses", "refuses").build(|_| Err(Error::unsupported("not today"))),
        Component::metric("wrong", "a graph that is none")
            .build(|ask| Ok(ask.program().emit(|g| g.give("col_a", g.logits() + g.x0())))),
        Component::attack("asks", "asks").oracle(|_, oracle| {
            let rows: Vec<usize> = (0..oracle.samples()).collect();
            oracle.offer(oracle.x0(0), &rows)
        }),
    ]
}

/// What the host was told during a call.
type Said = RefCell<Vec<(i32, String)>>;

unsafe fn told(call: *const abi::FsCall, number: i32, words: abi::FsString) {
    // SAFETY: the call is the one made below, whose `host` is a `Said`; the words are valid for the call.
    unsafe {
        let bytes = std::slice::from_raw_parts(words.data.cast::<u8>(), words.length);
        let said = &*(*call).host.cast::<Said>();
        said.borrow_mut().push((number, String::from_utf8(bytes.to_vec()).expect("UTF-8")));
    }
}

unsafe extern "C" fn log(call: *const abi::FsCall, level: i32, words: abi::FsString) {
    // SAFETY: as for `told`.
    unsafe { told(call, level, words) };
}

unsafe extern "C" fn fail(call: *const abi::FsCall, status: abi::Status, words: abi::FsString) -> abi::Status {
    // SAFETY: as for `told`.
    unsafe { told(call, status, words) };
    status
}

struct Answered {
    status: abi::Status,
    said: Vec<(i32, String)>,
    graphs: Vec<(i32, Vec<u8>)>,
    steps: u32,
}

fn component(id: &str) -> &'static abi::FsComponent {
    let plugin = flatscape_sdk::export(|| ("tested", "1.2.3", components()));
    // SAFETY: the tables are static and as the ABI says.
    unsafe {
        assert_eq!(((*plugin).abi_major, (*plugin).abi_minor, (*plugin).size), (0, 3, 64));
        let all = std::slice::from_raw_parts((*plugin).components, (*plugin).component_count);
        assert_eq!(all.len(), components().len());
        let name = |c: &abi::FsComponent| std::slice::from_raw_parts(c.id.data.cast::<u8>(), c.id.length);
        all.iter().map(|&c| &*c).find(|c| name(c) == id.as_bytes()).expect("it is in the list")
    }
}

fn build(id: &str, args: &[abi::FsValue]) -> Answered {
    let component = component(id);
    let said = Said::default();
    let call = abi::FsCall {
        size: size_of::<abi::FsCall>(),
        host: std::ptr::from_ref(&said).cast_mut().cast::<c_void>(),
        args: args.as_ptr(),
        arg_count: args.len(),
        log: Some(log),
        fail: Some(fail),
        cancelled: None,
    };
    let task = abi::FsTask {
        size: size_of::<abi::FsTask>(),
        channels: 3,
        height: 2,
        width: 2,
        classes: 7,
        norm: abi::FsString::new("linf"),
        targeted: 0,
        parameters: 12,
        eps: 0.1,
        lo: 0.0,
        hi: 1.0,
    };
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
    // SAFETY: all tables live until `build` returns; `release` is called once, after copying.
    unsafe {
        let status = component.build.expect("it builds")(component, &call, &task, &mut out);
        let mut graphs = Vec::new();
        if status == abi::OK {
            for graph in std::slice::from_raw_parts(out.graphs, out.graph_count) {
                graphs.push((graph.role, std::slice::from_raw_parts(graph.bytes.data, graph.bytes.length).to_vec()));
            }
            out.release.expect("what was allocated is released")(&mut out);
        } else {
            assert!(out.graphs.is_null() && out.release.is_none(), "on failure nothing is touched");
        }
        Answered { status, said: said.into_inner(), graphs, steps: out.steps }
    }
}

fn int(value: i64) -> abi::FsValue {
    abi::FsValue { ty: abi::INT, boolean: 0, integer: value, number: 0.0, text: abi::FsString::EMPTY }
}

fn auto() -> abi::FsValue {
    abi::FsValue { ty: abi::AUTO, ..int(0) }
}

#[test]
fn an_answer_is_bytes_that_read_back() {
    let answered = build("fine", &[int(5), auto()]);
    assert_eq!((answered.status, answered.steps, answered.graphs.len()), (abi::OK, 5, 1));
    assert_eq!(answered.said, [(1, "slowly".to_owned())]);
    let (role, bytes) = &answered.graphs[0];
    let graph = flatscape_graph::onnx::read(bytes).expect("an ONNX model").graph;
    graph.check().expect("a right graph");
    let inputs: Vec<String> = graph.inputs().iter().map(|&v| format!("{} {}", graph.value(v).ty, graph.value(v).name)).collect();
    assert_eq!((*role, inputs), (abi::STEP, vec!["float[N,12] x".into(), "float[N,12] grad".into(), "float eps".into()]));
}

#[test]
fn a_panic_becomes_a_status_with_its_words() {
    let answered = build("panics", &[]);
    assert_eq!((answered.status, answered.said), (abi::PANICKED, vec![(abi::PANICKED, "index 7 is out of range".to_owned())]));
    // and the next call works
    assert_eq!(build("fine", &[int(1), auto()]).status, abi::OK);
}

#[test]
fn refusals_and_wrong_graphs_have_words() {
    assert_eq!(build("refuses", &[]).said, [(abi::UNSUPPORTED, "not today".to_owned())]);
    let wrong = build("wrong", &[]);
    assert_eq!(wrong.status, abi::FAILED);
    assert!(wrong.said[0].1.starts_with("the emit graph is wrong: Add"), "{:?}", wrong.said);
    let few = build("fine", &[]);
    assert_eq!(few.said, [(abi::FAILED, "0 arguments for 2 parameters".to_owned())]);
}

#[test]
fn only_components_that_run_have_the_extension() {
    // SAFETY: the tables are static and as the ABI says.
    unsafe {
        let asks = component("asks");
        assert!(asks.build.is_none());
        let extension = asks.extension.expect("it has one");
        assert!(!extension(asks, abi::FsString::new("oracle/1")).is_null());
        assert!(extension(asks, abi::FsString::new("oracle/2")).is_null());
        assert!(component("fine").extension.is_none());
    }
}
