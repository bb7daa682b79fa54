//! The process of an engine: opens it, shuts itself in, and does what it is asked until the program is gone.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use flatscape_contain::sandbox::{self, Room, Sealed};
use flatscape_contain::{Most, limit_this_process, receive, send, take_socket};
use flatscape_graph::{Attributes, DType, Dim, Graph, Tensor, ValueType, onnx};

use super::wire::{Gathering, Input, Kind, Opening, Outcome, Reply, Request, Trouble, What, bytes_of, tensor_of};
use crate::buffer::Rows;
use crate::engine::{CompileOptions, Device, Engine, Executable, Settings};
use crate::{Buffer, EngineError, library};

/// Results of at most this many bytes are sent at once and do not stay.
const SHORT: usize = 1 << 16;

/// The whole life of the process of an engine. The hidden command `engine-worker` calls it and nothing else.
pub fn engine_worker_main() -> ExitCode {
    let ended = take_socket().and_then(|socket| {
        limit_this_process();
        Service { socket, engine: None, graphs: HashMap::new(), buffers: HashMap::new() }.serve()
    });
    match ended {
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}

/// What this process holds.
struct Service {
    socket: UnixStream,
    engine: Option<Arc<dyn Engine>>,
    graphs: HashMap<u64, Box<dyn Executable>>,
    buffers: HashMap<u64, Buffer>,
}

/// An answer, and the buffers whose bytes go with it.
type Answer = Result<(Reply, Vec<Buffer>), Trouble>;

impl Service {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let (request, bytes) = receive::<Request>(&mut self.socket, Most::TRUSTED)?;
            request.forget.iter().for_each(|buffer| drop(self.buffers.remove(buffer)));
            request.drop.iter().for_each(|graph| drop(self.graphs.remove(graph)));
            let (reply, buffers) = self.answer(request.what, &bytes).unwrap_or_else(|t| (Reply::Trouble(t), Vec::new()));
            let tensors: Result<Vec<Tensor>, EngineError> = buffers.iter().map(Buffer::host).collect();
            match tensors {
                Ok(tensors) => send(&mut self.socket, &reply, &tensors.iter().map(bytes_of).collect::<Vec<_>>())?,
                Err(error) => send(&mut self.socket, &Reply::Trouble(error.into()), &[])?,
            }
        }
    }

    fn answer(&mut self, what: What, bytes: &[u8]) -> Answer {
        match what {
            What::Open(opening) => {
                let (engine, sealed) = open(&opening)?;
                let info = engine.brief();
                self.engine = Some(engine);
                Ok((Reply::Opened { info, sealed }, Vec::new()))
            }
            What::Compile { graph, lower, split, sums, rows } => {
                let engine = self.engine.as_ref().ok_or_else(unknown)?;
                let read = onnx::read(bytes).map_err(|e| Trouble::Compile(e.to_string()))?;
                let executable = engine.compile(&read.graph, &CompileOptions { lower, split, sums, rows })?;
                self.graphs.insert(graph, executable);
                Ok((Reply::Done, Vec::new()))
            }
            What::CompileFile { graph } => {
                let engine = self.engine.as_ref().ok_or_else(unknown)?;
                let file = onnx::OwnFile::read(bytes).map_err(Trouble::File)?;
                self.graphs.insert(graph, engine.compile_file(&file)?);
                Ok((Reply::Done, Vec::new()))
            }
            What::Upload { graph, buffer, tensor } => {
                let tensor = tensor_of(&tensor, bytes).ok_or_else(unknown)?;
                let moved = self.graphs.get(&graph).ok_or_else(unknown)?.upload(&tensor)?;
                self.buffers.insert(buffer, moved);
                Ok((Reply::Done, Vec::new()))
            }
            What::Run { graph, each, inputs, results } => self.run(graph, each, &inputs, &results, bytes),
            What::Fetch { buffer } => {
                let buffer = self.buffers.get(&buffer).ok_or_else(unknown)?.clone();
                Ok((Reply::Tensor(Kind::of(&buffer)), vec![buffer]))
            }
            What::Gather(wanted) => {
                let mut rest = bytes;
                for Gathering { parts, places, buffer } in &wanted {
                    let rows = gathered(&self.named(parts, &mut rest)?, places)?;
                    self.buffers.insert(*buffer, rows);
                }
                Ok((Reply::Done, Vec::new()))
            }
            What::Rows { parts, places } => {
                let parts = self.named(&parts, &mut &*bytes)?;
                let wanted = Rows { parts: parts.iter().collect(), places: &places };
                let rows = match Buffer::read_rows(&wanted)? {
                    Some(rows) => Buffer::from(rows),
                    None => gathered(&parts, &places)?,
                };
                Ok((Reply::Tensor(Kind::of(&rows)), vec![rows]))
            }
        }
    }

    /// The tensors that a request names, in its order. What is given is taken from the front of `bytes`.
    fn named(&self, inputs: &[Input], bytes: &mut &[u8]) -> Result<Vec<Buffer>, Trouble> {
        let mut named = Vec::with_capacity(inputs.len());
        for input in inputs {
            named.push(match input {
                Input::Held(buffer) => self.buffers.get(buffer).ok_or_else(unknown)?.clone(),
                Input::Given(kind) => {
                    let (own, rest) = kind.size().and_then(|n| bytes.split_at_checked(n)).ok_or_else(unknown)?;
                    *bytes = rest;
                    Buffer::from(tensor_of(kind, own).ok_or_else(unknown)?)
                }
            });
        }
        Ok(named)
    }

    fn run(&mut self, graph: u64, each: bool, inputs: &[Input], results: &[u64], mut bytes: &[u8]) -> Answer {
        let executable = self.graphs.get(&graph).ok_or_else(unknown)?;
        let fed = self.named(inputs, &mut bytes)?;
        let fed: Vec<&Buffer> = fed.iter().collect();
        let given = if each { executable.run_each(&fed)? } else { executable.run(&fed)? };
        let (mut outcomes, mut short) = (Vec::with_capacity(given.len()), Vec::new());
        for (buffer, &number) in given.into_iter().zip(results) {
            let kind = Kind::of(&buffer);
            let stays = kind.size().is_none_or(|size| size > SHORT);
            outcomes.push(Outcome { kind, stays });
            if stays {
                self.buffers.insert(number, buffer);
            } else {
                short.push(buffer);
            }
        }
        Ok((Reply::Results(outcomes), short))
    }
}

/// Rows of tensors, by way of the host where the device does not give them.
fn gathered(parts: &[Buffer], places: &[(usize, usize)]) -> Result<Buffer, Trouble> {
    if let Some(rows) = Buffer::gathered(&parts.iter().collect::<Vec<_>>(), places)? {
        return Ok(rows);
    }
    let hosts = parts.iter().map(|part| part.host().map(Buffer::from)).collect::<Result<Vec<_>, _>>()?;
    Buffer::gathered(&hosts.iter().collect::<Vec<_>>(), places)?.ok_or_else(unknown)
}

fn unknown() -> Trouble {
    Trouble::Other("a request names what its process does not hold".to_owned())
}

/// Loads the library, tries it on a small graph, and shuts this process in before it starts any thread. With a GPU the driver starts
/// threads of its own when it is first used, so the process is shut in before that.
fn open(opening: &Opening) -> Result<(Arc<dyn Engine>, Sealed), Trouble> {
    let settings = opening.settings().map_err(Trouble::Other)?;
    let shut_in = || if opening.sandbox { seal(&settings) } else { Ok(Sealed::NOT) };
    if settings.device != Device::Cpu {
        let sealed = shut_in()?;
        return Ok((crate::open(&settings)?, sealed));
    }
    let alone = crate::open(&Settings { threads: 1, ..settings.clone() })?;
    tried(alone.as_ref())?;
    let sealed = shut_in()?;
    Ok((crate::open(&settings)?, sealed))
}

/// Where an engine reads and writes: the folder of its library; with a GPU everything is readable, because the libraries of the
/// driver lie in many places.
fn seal(settings: &Settings) -> Result<Sealed, Trouble> {
    let gpu = settings.device != Device::Cpu;
    let mut read = if gpu { vec!["/".into()] } else { Vec::new() };
    if let Ok(Some(place)) = library::wanted(settings) {
        read.extend(sandbox::folders_of(&place.path));
    }
    let scratch = std::env::current_dir().map_err(|e| Trouble::Other(format!("there is no working directory: {e}")))?;
    sandbox::seal(&Room { read, write: vec![scratch], gpu }).map_err(Trouble::Other)
}

/// Compiles and runs y = x + x.
fn tried(engine: &dyn Engine) -> Result<(), Trouble> {
    let mut graph = Graph::new("trial");
    let x = graph.add_input("x", ValueType::new(DType::F32, vec![Dim::symbol("N")]));
    let y = graph.node("Add", &[x, x], Attributes::none());
    graph.add_output("y", y);
    let executable = engine.compile(&graph, &CompileOptions::default())?;
    let asked = Tensor::new(&[2], vec![1.5f32, -2.0]).ok_or_else(unknown)?;
    let given = executable.run(&[&executable.upload(&asked)?])?;
    match given.first().map(Buffer::host).transpose()?.map(|y| y.to_f64()) {
        Some(y) if y == [3.0, -4.0] => Ok(()),
        other => Err(Trouble::LibraryRefused(format!("computes 2 · (1.5, −2) = {other:?}"))),
    }
}
