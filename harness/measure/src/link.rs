//! Links a plugin's program to a model: every name that the program reads is bound to a value, and nothing else is built.
//! No `grad` named, no backward pass. Knows graphs; has never heard of a batch, a loop or a file.

use std::collections::HashMap;

use flatscape_autodiff::{vjp, without_marks};
use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueType, simplify};

use crate::threats::{Ball, ThreatModel};
use flatscape_intake::functions;

/// What a program is linked against.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    /// The model in pixel units: input `x` float[N,C,H,W], output `logits` float[N,K].
    pub model: &'a Graph,
    /// What is ascended; cross-entropy where the program brings none.
    pub objective: Option<&'a Graph>,
    /// The row vectors whose products with the Jacobian the program asks for.
    pub cotangent: Option<&'a Graph>,
    /// A gradient of cross-entropy from elsewhere, taken instead of our own: inputs `x` and `y`, output `gradient`. It cannot
    /// serve an objective, and products with the Jacobian are always ours.
    pub given: Option<&'a Graph>,
    /// Norm, radius and box.
    pub threat: &'a ThreatModel,
    /// Whether the loss leads towards `target` instead of away from `y`.
    pub targeted: bool,
    /// The component's arguments as numbers, by name.
    pub arguments: &'a [(String, f64)],
    /// How many steps the program takes.
    pub steps: u32,
}

/// A linked graph, ready to be compiled, and what one run of it costs per sample.
#[derive(Debug)]
pub struct Linked {
    /// Inputs are the names that the host feeds; outputs the program's own and those asked for.
    pub graph: Graph,
    /// Evaluations of the model.
    pub forwards: u32,
    /// Reverse passes through the model.
    pub backwards: u32,
    /// The only batch that it takes, where the model takes no other.
    pub batch: Option<usize>,
}

/// A program that does not fit the model or the host.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The program reads a name that the host does not offer at this place.
    #[error("the program reads `{name}`, which {why}")]
    Name {
        /// The name.
        name: String,
        /// A clause.
        why: &'static str,
    },
    /// The reverse pass could not be built.
    #[error(transparent)]
    Differentiate(#[from] flatscape_autodiff::DiffError),
    /// The linked graph is not well formed.
    #[error("the program does not fit the model: {0}")]
    Check(#[from] flatscape_graph::CheckError),
}

/// Where `x` comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The host feeds it.
    Fed,
    /// It is the clean point `x0`.
    Clean,
}

impl<'a> Link<'a> {
    /// Links one graph. `projected` outputs (`x`, `x_next`) are brought into ball and box; `asked` are further quantities
    /// at `x` that the host wants to see (`logits`, `loss`, and `grad_peak`, the largest absolute gradient entry, which is
    /// given only where the program names a gradient anyway).
    pub fn stage(&self, graph: &Graph, point: Point, project: bool, asked: &[&str]) -> Result<Linked, LinkError> {
        let builder = Builder::new(Graph::new(&graph.name));
        let mut scope = Scope::new(*self, &builder, point);
        for (name, value) in scope.include(graph)? {
            let value = if name.starts_with("x") { scope.shaped(value) } else { value };
            let value = if project && (name == "x" || name == "x_next") { scope.project(value) } else { value };
            builder.output(&name, value);
        }
        scope.show(asked)?;
        scope.finish()
    }

    /// Links `probe` and `observe` into one graph: the probed point goes straight into the model.
    pub fn probe(&self, probe: &Graph, observe: &Graph) -> Result<Linked, LinkError> {
        let builder = Builder::new(Graph::new(&observe.name));
        let mut scope = Scope::new(*self, &builder, Point::Clean);
        let outputs = scope.include(probe)?;
        let Some((_, x)) = outputs.into_iter().find(|(name, _)| name == "x") else {
            return Err(LinkError::Name { name: "x".into(), why: "`probe` does not give" });
        };
        let x = scope.shaped(x);
        scope.move_to(x);
        for (name, value) in scope.include(observe)? {
            builder.output(&name, value);
        }
        scope.finish()
    }

    /// The model alone: input `x`, outputs `logits` and, where a label is wanted, `loss` against the fed `y`.
    pub fn forward(&self, asked: &[&str]) -> Result<Linked, LinkError> {
        let builder = Builder::new(Graph::new("forward"));
        let mut scope = Scope::new(*self, &builder, Point::Fed);
        scope.show(asked)?;
        scope.finish()
    }
}

/// The values that names stand for while one graph is being linked.
struct Scope<'b, 'a> {
    link: Link<'a>,
    builder: &'b Builder,
    /// Values fed by the host, by name.
    fed: HashMap<String, Expr<'b>>,
    /// Derived quantities by name, `…0` at `x0`.
    derived: HashMap<String, Expr<'b>>,
    point: Option<Expr<'b>>,
    at: Point,
    forwards: u32,
    backwards: u32,
}

impl<'b, 'a> Scope<'b, 'a> {
    fn new(link: Link<'a>, builder: &'b Builder, at: Point) -> Self {
        Scope { link, builder, fed: HashMap::new(), derived: HashMap::new(), point: None, at, forwards: 0, backwards: 0 }
    }

    /// Makes another value the point `x`.
    fn move_to(&mut self, x: Expr<'b>) {
        self.derived.retain(|name, _| name.ends_with('0'));
        self.point = Some(x);
    }

    fn finish(self) -> Result<Linked, LinkError> {
        let (forwards, backwards, batch) = (self.forwards, self.backwards, self.batch().fixed());
        let built = without_marks(self.builder.graph().clone());
        built.check()?;
        let graph = simplify(&built);
        graph.check()?;
        Ok(Linked { graph, forwards, backwards, batch })
    }

    fn show(&mut self, asked: &[&str]) -> Result<(), LinkError> {
        for &name in asked {
            let value = match name {
                "grad_peak" => match self.derived.get("grad").copied() {
                    Some(grad) => grad.abs().reduce("ReduceMax", &[1, 2, 3], false),
                    None => continue,
                },
                _ => self.quantity(name)?,
            };
            self.builder.output(name, value);
        }
        Ok(())
    }

    /// Copies a program's graph in: names bound, functions of the domain `flatscape` expanded. Returns its outputs.
    fn include(&mut self, graph: &Graph) -> Result<Vec<(String, Expr<'b>)>, LinkError> {
        let mut map: HashMap<_, Expr<'b>> = HashMap::new();
        for &input in graph.inputs() {
            let value = graph.value(input);
            let bound = self.bind(&value.name, &value.ty)?;
            map.insert(input, bound);
        }
        for node in graph.nodes() {
            let mut operands = Vec::with_capacity(node.inputs.len());
            for operand in &node.inputs {
                operands.push(operand.map(|id| {
                    *map.entry(id).or_insert_with(|| {
                        let value = graph.value(id);
                        let mut target = self.builder.graph_mut();
                        let copy = match &value.constant {
                            Some(tensor) => target.add_constant(&value.name, tensor.clone()),
                            None => {
                                target.add_problem(format!("the program reads {:?}, which nothing produces", value.name));
                                target.add_constant(&value.name, Tensor::scalar(0f32))
                            }
                        };
                        drop(target);
                        self.builder.expr(copy)
                    })
                }));
            }
            let results: Vec<Option<Expr<'b>>> = if &*node.domain == "flatscape" {
                let given: Vec<Expr<'b>> = operands.iter().flatten().copied().collect();
                vec![Some(self.function(&node.op, &given)?)]
            } else {
                let ids = operands.iter().map(|o| o.map(|e| e.id)).collect();
                let copied = self.builder.graph_mut().copy_node(graph, node, ids);
                copied.into_iter().map(|id| id.map(|id| self.builder.expr(id))).collect()
            };
            for (output, result) in node.outputs.iter().zip(results) {
                if let (Some(output), Some(result)) = (output, result) {
                    map.insert(*output, result);
                }
            }
        }
        graph
            .outputs()
            .iter()
            .map(|output| match (map.get(&output.value), graph.constant(output.value)) {
                (Some(value), _) => Ok((output.name.to_string(), *value)),
                (None, Some(tensor)) => {
                    let id = self.builder.graph_mut().add_constant(&output.name, tensor.clone());
                    Ok((output.name.to_string(), self.builder.expr(id)))
                }
                (None, None) => Err(LinkError::Name { name: output.name.to_string(), why: "nothing in it produces" }),
            })
            .collect()
    }

    /// A function of the domain `flatscape`, written out.
    fn function(&mut self, op: &str, given: &[Expr<'b>]) -> Result<Expr<'b>, LinkError> {
        match (op, given) {
            ("Project", &[x]) => Ok(self.project(self.shaped(x))),
            ("Steepest", &[g]) => Ok((self.link.threat.norm.steepest)(self.shaped(g)).reshape_like(g)),
            ("Distance", &[x, x0]) => Ok((self.link.threat.norm.distance_graph)(self.shaped(x), self.shaped(x0))),
            ("Detach", &[t]) => Ok(t.unary("Identity")),
            ("CrossEntropy", &[logits, y]) => Ok(functions::cross_entropy(self.builder, logits, y).0),
            ("Margin", &[logits, y]) => Ok(functions::margin(self.builder, logits, y)),
            ("LogSumExp", &[logits]) => Ok(functions::log_sum_exp(logits)),
            _ => Err(LinkError::Name {
                name: format!("flatscape.{op}"),
                why: "is no function of this host, or has other operands",
            }),
        }
    }

    /// The value of a name, in the rank that the program declares: x-like names may be `[N,D]`.
    fn bind(&mut self, name: &str, declared: &ValueType) -> Result<Expr<'b>, LinkError> {
        let value = match name {
            "eps" => self.number(self.link.threat.eps, declared),
            "lo" => self.number(f64::from(self.link.threat.lo), declared),
            "hi" => self.number(f64::from(self.link.threat.hi), declared),
            "steps" => self.number(f64::from(self.link.steps), declared),
            _ if name.starts_with("arg_") => match self.link.arguments.iter().find(|(key, _)| key == &name[4..]) {
                Some((_, value)) => self.number(*value, declared),
                None => {
                    return Err(LinkError::Name { name: name.to_owned(), why: "the component does not declare as a parameter" });
                }
            },
            "x" => self.point_of(self.point.is_none() && self.at == Point::Clean),
            _ if is_fed(name) => self.feed(name, declared),
            _ => self.quantity(name)?,
        };
        let declared_rank = declared.shape.as_ref().map(Vec::len);
        match (value.rank(), declared_rank) {
            (Some(4), Some(2)) => Ok(value.reshape(&[0, -1])),
            (Some(5), Some(3)) => Ok(value.reshape(&[0, 0, -1])),
            _ => Ok(value),
        }
    }

    fn number(&self, value: f64, declared: &ValueType) -> Expr<'b> {
        self.builder.constant(Tensor::full(declared.dtype.unwrap_or(DType::F32), &[], value))
    }

    /// An input that the host feeds; x-like ones in the shape of the model's input.
    fn feed(&mut self, name: &str, declared: &ValueType) -> Expr<'b> {
        if let Some(value) = self.fed.get(name) {
            return *value;
        }
        let n = self.batch();
        let ty = match name {
            "x0" | "x" => self.image(),
            "y" | "target" => ValueType::new(DType::I64, vec![n]),
            "k" | "restart" => ValueType::new(DType::I64, vec![]),
            "broken" => ValueType::new(DType::Bool, vec![n]),
            _ => ValueType {
                dtype: declared.dtype,
                shape: declared.shape.as_ref().map(|dims| {
                    let private = !name.starts_with("shared_noise_");
                    dims.iter()
                        .enumerate()
                        .map(|(axis, dim)| if axis == 0 && private { n.clone() } else { dim.clone() })
                        .collect()
                }),
            },
        };
        let value = self.builder.input(name, self.sized(name, ty));
        self.fed.insert(name.to_owned(), value);
        value
    }

    /// Writes the model's extents into declared symbols: `noise_uniform_start` float[N,C,H,W] or float[N,D].
    fn sized(&self, name: &str, mut ty: ValueType) -> ValueType {
        let image: Vec<Option<usize>> = self.image().shape.unwrap_or_default().iter().map(Dim::fixed).collect();
        let [_, c, h, w] = image[..] else { return ty };
        let Some(dims) = ty.shape.as_mut() else { return ty };
        let rank = dims.len();
        let leading = usize::from(!name.starts_with("shared_noise_"));
        for (axis, dim) in dims.iter_mut().enumerate() {
            if dim.fixed().is_some() || (leading == 1 && axis == 0) {
                continue;
            }
            let named = match &*dim.to_string() {
                "C" => c,
                "H" => h,
                "W" => w,
                "D" => c.zip(h).zip(w).map(|((c, h), w)| c * h * w),
                _ if rank == 3 + leading => [c, h, w][axis - leading],
                _ => None,
            };
            if let Some(extent) = named {
                *dim = Dim::Fixed(extent);
            }
        }
        ty
    }

    /// Something derived from the model: `logits`, `loss`, `grad`, `vjp` at `x`, or with a `0` at `x0`.
    fn quantity(&mut self, name: &str) -> Result<Expr<'b>, LinkError> {
        let (what, clean) = name.strip_suffix('0').map_or((name, false), |what| (what, true));
        let clean = clean || (self.point.is_none() && self.at == Point::Clean);
        let key = format!("{what}{}", if clean { "0" } else { "" });
        if let Some(value) = self.derived.get(&key) {
            return Ok(*value);
        }
        let x = self.point_of(clean);
        let value = match what {
            "logits" => self.logits(x),
            "loss" => self.loss(clean)?.0,
            "grad" if self.follows_given() => {
                self.backwards += 1;
                self.given(x)
            }
            "grad" => {
                let logits = self.quantity(&key.replace("grad", "logits"))?;
                self.backwards += 1;
                match self.loss(clean)? {
                    (_, Some(cotangent)) => self.pull(logits, cotangent, x)?,
                    (loss, None) => {
                        let ones =
                            self.builder.op("Expand", &[loss.scalar(1.0), loss.shape()], flatscape_graph::Attributes::none());
                        self.pull(loss, ones, x)?
                    }
                }
            }
            "vjp" => {
                let logits = self.quantity(&key.replace("vjp", "logits"))?;
                let Some(graph) = self.link.cotangent else {
                    return Err(LinkError::Name {
                        name: name.to_owned(),
                        why: "needs a graph of role `cotangent`, and there is none",
                    });
                };
                let rows = self.include_at(graph, clean)?;
                let Some((_, ct)) = rows.into_iter().find(|(name, _)| name == "ct") else {
                    return Err(LinkError::Name { name: "ct".into(), why: "`cotangent` does not give" });
                };
                match ct.dims().as_deref() {
                    Some([_, k, _]) => {
                        let Some(k) = k.fixed() else {
                            return Err(LinkError::Name { name: "ct".into(), why: "must have a fixed number of rows" });
                        };
                        self.backwards += k as u32;
                        let mut parts = Vec::with_capacity(k);
                        for row in 0..k as i64 {
                            let one = ct.slice(&[row], &[row + 1], &[1], &[1]).squeeze(&[1]);
                            parts.push(self.pull(logits, one, x)?.unsqueeze(&[1]));
                        }
                        self.builder.concat(&parts, 1)
                    }
                    _ => {
                        self.backwards += 1;
                        self.pull(logits, ct, x)?
                    }
                }
            }
            _ => return Err(LinkError::Name { name: name.to_owned(), why: "is not among the names of this host" }),
        };
        self.derived.insert(key, value);
        Ok(value)
    }

    /// Whether `grad` is that of a graph from elsewhere.
    fn follows_given(&self) -> bool {
        self.link.given.is_some() && self.link.objective.is_none()
    }

    /// The gradient of cross-entropy as a graph from elsewhere has it; towards `target` it is followed downwards.
    fn given(&mut self, x: Expr<'b>) -> Expr<'b> {
        let class = self.feed(if self.link.targeted { "target" } else { "y" }, &ValueType::default());
        let Some(graph) = self.link.given else { return x };
        let outputs = self.builder.inline(graph, &|name, _| Some(if name == "y" { class.id } else { x.id }));
        match outputs.map(|outputs| outputs.into_iter().next()) {
            Ok(Some((_, id))) if self.link.targeted => -self.builder.expr(id),
            Ok(Some((_, id))) => self.builder.expr(id),
            Ok(None) => x,
            Err(why) => {
                self.builder.graph_mut().add_problem(format!("the gradient graph does not fit: {why}"));
                x
            }
        }
    }

    /// The loss per sample and, for cross-entropy, its exact cotangent at the logits.
    fn loss(&mut self, clean: bool) -> Result<(Expr<'b>, Option<Expr<'b>>), LinkError> {
        let suffix = if clean { "0" } else { "" };
        if let Some(graph) = self.link.objective {
            let outputs = self.include_at(graph, clean)?;
            return match outputs.into_iter().find(|(name, _)| name == "loss") {
                Some((_, loss)) => Ok((loss, None)),
                None => Err(LinkError::Name { name: "loss".into(), why: "`objective` does not give" }),
            };
        }
        let logits = self.quantity(&format!("logits{suffix}"))?;
        let class = self.feed(if self.link.targeted { "target" } else { "y" }, &ValueType::default());
        let (loss, cotangent) = functions::cross_entropy(self.builder, logits, class);
        Ok(if self.link.targeted { (-loss, Some(-cotangent)) } else { (loss, Some(cotangent)) })
    }

    /// Includes an `objective` or `cotangent`: its unsuffixed names mean the point at which it is asked.
    fn include_at(&mut self, graph: &Graph, clean: bool) -> Result<Vec<(String, Expr<'b>)>, LinkError> {
        let (at, point) = (self.at, self.point);
        if clean {
            (self.at, self.point) = (Point::Clean, None);
        }
        let outputs = self.include(graph);
        (self.at, self.point) = (at, point);
        outputs
    }

    fn pull(&self, y: Expr<'b>, ct: Expr<'b>, x: Expr<'b>) -> Result<Expr<'b>, LinkError> {
        let found = vjp(self.builder, y.id, ct.id, &[x.id])?;
        // No path from the input to the logits: the gradient is zero.
        Ok(found[0].map_or_else(|| x * 0.0, |id| self.builder.expr(id)))
    }

    fn logits(&mut self, x: Expr<'b>) -> Expr<'b> {
        self.forwards += 1;
        let model = self.link.model;
        let outputs = self.builder.inline(model, &|_, _| Some(x.id));
        match outputs.ok().and_then(|outputs| outputs.into_iter().next()) {
            Some((_, id)) => self.builder.expr(id),
            None => {
                self.builder.graph_mut().add_problem("the model could not be copied into the program".into());
                x
            }
        }
    }

    fn point_of(&mut self, clean: bool) -> Expr<'b> {
        match self.point {
            Some(x) if !clean => x,
            _ => self.feed(if clean { "x0" } else { "x" }, &ValueType::default()),
        }
    }

    fn project(&mut self, x: Expr<'b>) -> Expr<'b> {
        let x0 = self.feed("x0", &ValueType::default());
        let threat = self.link.threat;
        let ball = Ball { x0, eps: x0.scalar(threat.eps), lo: x0.scalar(threat.lo.into()), hi: x0.scalar(threat.hi.into()) };
        (threat.norm.project)(x, ball)
    }

    /// In the shape of the model's input.
    fn shaped(&self, x: Expr<'b>) -> Expr<'b> {
        let fixed = self.image().shape.unwrap_or_default();
        let extents: Vec<i64> = fixed.iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect();
        if x.rank() == Some(extents.len()) { x } else { x.reshape(&extents) }
    }

    /// `N`, or the extent that the model insists on.
    fn batch(&self) -> Dim {
        let first = self.image().shape.and_then(|s| s.into_iter().next());
        first.filter(|d| d.fixed().is_some()).unwrap_or_else(|| Dim::symbol("N"))
    }

    fn image(&self) -> ValueType {
        let model = self.link.model;
        model.inputs().first().map(|&input| model.value(input).ty.clone()).unwrap_or_default()
    }
}

/// The names that the host feeds at run time.
fn is_fed(name: &str) -> bool {
    matches!(name, "x0" | "x" | "y" | "target" | "k" | "restart" | "i" | "broken")
        || ["noise_", "shared_noise_", "state_", "obs_"].iter().any(|prefix| name.starts_with(prefix))
}
