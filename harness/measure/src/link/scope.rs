//! One graph while it is being linked: the values of the names, and the copy of a program's graph with its names bound.

use std::collections::HashMap;

use flatscape_autodiff::{vjp, without_marks};
use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueId, ValueType, simplify};

use flatscape_intake::drawn::{DRAWS, GRADIENT_DRAWS};

use super::functions;
use super::head::Head;
use super::quantities::{self, Anchor};
use super::{Link, LinkError, Linked, Point, open_head};
use crate::threats::{Ball, Parameter, Ranges, Space};

/// The values of the names while one graph is linked.
pub(super) struct Scope<'b, 'a> {
    pub link: Link<'a>,
    pub builder: &'b Builder,
    /// The last linear layer of the model, or a clause that says why it has none.
    pub head: Result<Last, String>,
    pub forwards: u32,
    pub backwards: u32,
    /// The model; with one output more where it has a linear last layer: the input of that layer.
    model: Graph,
    /// Values fed by the host, by name.
    fed: HashMap<String, Expr<'b>>,
    /// Derived quantities by name and point.
    derived: HashMap<(&'static str, Anchor), Expr<'b>>,
    /// The point `x`, where it is not fed.
    point: Option<Expr<'b>>,
    /// Whether an attack is linked: under a parametrised threat model it moves the parameter.
    attacks: bool,
    /// The parameter that `x` is decoded from.
    parameter: Option<Expr<'b>>,
    /// What `hvp` multiplies, where it is not fed.
    direction: Option<Expr<'b>>,
    /// The point that names without a suffix mean.
    here: Anchor,
    /// Where the model gives the scores of several draws: how many, and whether losses are averaged over them, or gradients alone.
    pub draws: Option<(usize, bool)>,
    /// What the model gives beside its logits, by name and point.
    pub extras: Vec<(String, Expr<'b>)>,
    /// Weights and biases of the last layer, where they are values of the model.
    pub last: HashMap<String, Expr<'b>>,
}

/// The last linear layer of a model.
pub(super) enum Last {
    /// With constant weights.
    Constant(Box<Head>),
    /// With weights that are values of the model; the number of features.
    Open(usize),
}

impl Last {
    fn width(&self) -> usize {
        match self {
            Last::Constant(head) => head.width(),
            Last::Open(width) => *width,
        }
    }
}

impl<'b, 'a> Scope<'b, 'a> {
    pub fn new(link: Link<'a>, builder: &'b Builder, at: Point) -> Self {
        let mut model = link.model.clone();
        // a model whose weights are inputs has them as values
        let open = model.inputs().iter().any(|&input| is_of_model(&model.value(input).name));
        let head = match open {
            true => open_head::open(&mut model).map(Last::Open),
            false => Head::of(&model).map(|head| Last::Constant(Box::new(head))),
        };
        if let Ok(Last::Constant(head)) = &head {
            model.add_output("features", head.input);
        }
        let draws = draws_of(&model);
        let here = if matches!(at, Point::Clean | Point::Start) { Anchor::Origin } else { Anchor::Here };
        let attacks = matches!(at, Point::Decoded | Point::Start);
        let (fed, derived) = (HashMap::new(), HashMap::new());
        let (point, parameter, direction) = (None, None, None);
        let mut scope = Scope {
            link,
            builder,
            head,
            forwards: 0,
            backwards: 0,
            model,
            fed,
            derived,
            point,
            attacks,
            parameter,
            direction,
            here,
            draws,
            extras: Vec::new(),
            last: HashMap::new(),
        };
        if at == Point::Decoded {
            scope.decode();
        }
        scope
    }

    /// The parameter of the threat model, where an attack is linked and images are decoded from it.
    pub fn decodes(&self) -> Option<Parameter> {
        self.link.threat.norm.parameter.filter(|_| self.attacks)
    }

    /// Makes another value the point `x`.
    pub fn move_to(&mut self, x: Expr<'b>) {
        self.derived.retain(|(_, anchor), _| *anchor != Anchor::Here);
        (self.point, self.here) = (Some(x), Anchor::Here);
    }

    /// Makes `x` what the fed `z` decodes to, under a parametrised threat model; where only the host decodes, it feeds `x`, too. Under
    /// the others z is x.
    fn decode(&mut self) {
        let Some(parameter) = self.decodes() else { return };
        let x0 = self.feed("x0", &ValueType::default());
        let z = self.feed("z", &ValueType::default());
        let x = match parameter.space {
            Space::Ranges(ranges) => (ranges.decode)(x0, z, self.shape()),
            Space::Points(_) => self.feed("x", &ValueType::default()),
        };
        self.move_to(x);
        self.parameter = Some(z);
    }

    /// The parameter of the threat model: `z`, or the point itself where nothing is decoded. At the clean point it is 0.
    pub fn parameter(&mut self, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
        let anchor = if anchor == Anchor::Here { self.here } else { anchor };
        let threat = self.link.threat;
        match (threat.norm.parameter, self.parameter) {
            (None, _) => Ok(self.point_of(anchor)),
            (Some(_), _) if !self.attacks => {
                let why =
                    format!("is the parameter of an attack under the threat model {}; metrics look at images", threat.norm.name);
                Err(LinkError::name("z", why))
            }
            (Some(_), Some(z)) if anchor == Anchor::Here => Ok(z),
            (Some(_), _) => {
                let x0 = self.feed("x0", &ValueType::default());
                let count = threat.parameters(self.shape());
                let zeros = self.builder.constant(Tensor::full(DType::F32, &[1, count], 0.0));
                Ok(x0.sum(&[1, 2, 3], false).unsqueeze(&[1]) * 0.0 + zeros)
            }
        }
    }

    /// Makes a value the direction that `hvp` multiplies.
    pub fn aim(&mut self, direction: Expr<'b>) {
        self.direction = Some(direction);
    }

    pub fn finish(self) -> Result<Linked, LinkError> {
        // a model of several draws is evaluated once for each
        let each = self.draws.map_or(1, |(count, _)| count as u32);
        let (forwards, backwards, batch) = (self.forwards * each, self.backwards * each, self.batch().fixed());
        let built = without_marks(self.builder.graph().clone());
        built.check()?;
        let graph = simplify(&built);
        graph.check()?;
        Ok(Linked { graph, forwards, backwards, batch })
    }

    /// Gives quantities at `x` to the host.
    pub fn show(&mut self, asked: &[&str]) -> Result<(), LinkError> {
        for &name in asked {
            let value = match name {
                "grad_peak" => {
                    let gradients = ["grad_z", "ascent_z", "grad", "ascent"];
                    let named = gradients.into_iter().find_map(|what| self.remembered(what, self.here));
                    match named {
                        Some(grad) => quantities::peak(grad),
                        None => continue,
                    }
                }
                "x" => self.point_of(self.here),
                _ => self.quantity(name)?,
            };
            self.builder.output(name, value);
        }
        Ok(())
    }

    /// Copies a program's graph in: names bound, functions of the domain `flatscape` expanded. Returns its outputs.
    pub fn include(&mut self, graph: &Graph) -> Result<Vec<(String, Expr<'b>)>, LinkError> {
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
            let results: Vec<Option<Expr<'b>>> = if &*node.domain == flatscape_graph::ops::FUNCTIONS {
                let operands: Vec<Expr<'b>> = operands.iter().flatten().copied().collect();
                vec![Some(functions::expand(self, &node.op, &operands)?)]
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
        let result = |output: &flatscape_graph::Output| match (map.get(&output.value), graph.constant(output.value)) {
            (Some(value), _) => Ok((output.name.to_string(), *value)),
            (None, Some(tensor)) => {
                let id = self.builder.graph_mut().add_constant(&output.name, tensor.clone());
                Ok((output.name.to_string(), self.builder.expr(id)))
            }
            (None, None) => Err(LinkError::name(&output.name, "nothing in it produces")),
        };
        graph.outputs().iter().map(result).collect()
    }

    /// Includes an `objective` or `cotangent`: its names without a suffix mean the point at which it is included.
    pub fn include_at(&mut self, graph: &Graph, anchor: Anchor) -> Result<Vec<(String, Expr<'b>)>, LinkError> {
        let here = std::mem::replace(&mut self.here, anchor);
        let outputs = self.include(graph);
        self.here = here;
        outputs
    }

    /// The value of a name, in the rank that the program declares: x-like names may be `[N,D]`.
    fn bind(&mut self, name: &str, declared: &ValueType) -> Result<Expr<'b>, LinkError> {
        let value = match name {
            "temperature" => self.number(self.link.temperature, declared),
            "model_unit" => self.unit(),
            "lo" => self.number(f64::from(self.link.threat.lo), declared),
            "hi" => self.number(f64::from(self.link.threat.hi), declared),
            "steps" => self.number(f64::from(self.link.steps), declared),
            _ if name.starts_with("arg_") => match self.link.arguments.iter().find(|(key, _)| key == &name[4..]) {
                Some((_, value)) => self.number(*value, declared),
                None => return Err(LinkError::name(name, "the component does not declare as a parameter")),
            },
            "x" => self.point_of(self.here),
            "z" => self.parameter(self.here)?,
            "direction" => self.direction(),
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

    /// What a step of 1 in the model's own input is in pixels, in the shape of the images.
    fn unit(&mut self) -> Expr<'b> {
        let units: Vec<f32> =
            if self.link.units.is_empty() { vec![1.0] } else { self.link.units.iter().map(|&u| u as f32).collect() };
        let per_channel = self.builder.constant(Tensor::floats(units)).unsqueeze(&[0, 2, 3]);
        per_channel.expand_like(self.point_of(Anchor::Origin))
    }

    fn number(&self, value: f64, declared: &ValueType) -> Expr<'b> {
        self.builder.constant(Tensor::full(declared.dtype.unwrap_or(DType::F32), &[], value))
    }

    /// An input that the host feeds; x-like ones in the shape of the model's input.
    pub fn feed(&mut self, name: &str, declared: &ValueType) -> Expr<'b> {
        if let Some(value) = self.fed.get(name) {
            return *value;
        }
        let n = self.batch();
        let ty = match name {
            "x0" | "x" | "x_clean" | "x_second" | "x_adv" | "delta" | "dx" | "direction" => self.image(),
            "y" | "target" => ValueType::new(DType::I64, vec![n]),
            "k" | "restart" => ValueType::new(DType::I64, vec![]),
            "eps" | "lr" => ValueType::new(DType::F32, vec![]),
            _ if is_of_model(name) => declared.clone(),
            "z" => {
                let parameters = self.link.threat.parameters(self.shape());
                ValueType::new(DType::F32, vec![n, Dim::Fixed(parameters)])
            }
            "broken" => ValueType::new(DType::Bool, vec![n]),
            _ => ValueType {
                dtype: declared.dtype,
                shape: declared.shape.as_ref().map(|dims| {
                    let private = !name.starts_with("shared_noise_");
                    let sized = |(axis, dim): (usize, &Dim)| if axis == 0 && private { n.clone() } else { dim.clone() };
                    dims.iter().enumerate().map(sized).collect()
                }),
            },
        };
        let value = self.builder.input(name, self.sized(name, ty));
        self.fed.insert(name.to_owned(), value);
        value
    }

    /// The label, or the class to reach.
    pub fn class(&mut self) -> Expr<'b> {
        self.feed(if self.link.targeted { "target" } else { "y" }, &ValueType::default())
    }

    /// What `hvp` multiplies.
    pub fn direction(&mut self) -> Expr<'b> {
        match self.direction {
            Some(direction) => direction,
            None => self.feed("direction", &ValueType::default()),
        }
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

    /// Something derived from the model, by its name with its suffix: `logits`, `grad0`, `features_clean`.
    pub fn quantity(&mut self, name: &str) -> Result<Expr<'b>, LinkError> {
        match quantities::named(name) {
            Some((row, anchor)) => self.take(row, anchor),
            None => Err(LinkError::name(name, "is not among the names of this host")),
        }
    }

    /// A quantity at a point, built at its first use.
    pub fn take(&mut self, row: &'static quantities::Quantity, anchor: Anchor) -> Result<Expr<'b>, LinkError> {
        let anchor = if anchor == Anchor::Here { self.here } else { anchor };
        if let Some(value) = self.derived.get(&(row.name, anchor)) {
            return Ok(*value);
        }
        for need in row.needs {
            if let Some(why) = (need.missing)(self) {
                let name = row.name.to_owned();
                return Err(if need.of_model { LinkError::Lacking { name, why } } else { LinkError::Name { name, why } });
            }
        }
        let value = (row.build)(self, anchor)?;
        self.derived.insert((row.name, anchor), value);
        Ok(value)
    }

    /// A quantity that was built before.
    pub fn remembered(&self, name: &'static str, anchor: Anchor) -> Option<Expr<'b>> {
        self.derived.get(&(name, anchor)).copied()
    }

    /// The logits at a point. Where the model has a linear last layer, the input of that layer is remembered as `features`.
    pub fn logits(&mut self, anchor: Anchor) -> Expr<'b> {
        let x = self.point_of(anchor);
        self.forwards += 1;
        let bound = self.inputs_of_model(x, anchor);
        let outputs = match self.builder.inline(&self.model, &|name, _| bound.get(name).map(|value| value.id)) {
            Ok(outputs) => outputs,
            Err(why) => {
                self.builder.graph_mut().add_problem(format!("the model could not be copied into the program: {why}"));
                return x;
            }
        };
        for (name, id) in outputs.iter().skip(1) {
            let value = self.builder.expr(*id);
            match (&**name, &self.head) {
                ("features", Ok(head)) => {
                    let features = value.reshape(&[-1, head.width() as i64]);
                    self.derived.insert(("features", anchor), features);
                }
                ("head_weight" | "head_bias", _) => drop(self.last.insert(name.to_string(), value)),
                (DRAWS | GRADIENT_DRAWS, _) => drop(self.derived.insert((DRAWS, anchor), value)),
                _ => self.extras.push((format!("{name}{}", anchor.suffix()), value)),
            }
        }
        match outputs.first() {
            Some((_, logits)) => self.builder.expr(*logits),
            None => {
                self.builder.graph_mut().add_problem("the model gives nothing".into());
                x
            }
        }
    }

    /// What is built at a point once for every draw of the model, with the scores of the draw as the logits.
    pub fn of_each<T>(
        &mut self,
        anchor: Anchor,
        build: impl Fn(&mut Self, Anchor) -> Result<T, LinkError>,
    ) -> Result<Vec<T>, LinkError> {
        let Some((draws, (count, _))) = self.remembered(DRAWS, anchor).zip(self.draws) else { return Ok(Vec::new()) };
        let known = self.derived.clone();
        let mut built = Vec::with_capacity(count);
        for k in 0..count as i64 {
            self.derived.retain(|(_, at), _| *at != anchor);
            self.derived.insert(("logits", anchor), draws.slice(&[k], &[k + 1], &[1], &[1]).squeeze(&[1]));
            built.push(build(self, anchor)?);
        }
        self.derived = known;
        Ok(built)
    }

    /// The values of the model's inputs at a point: the image, and what the host feeds under the names of the others. Masks are
    /// drawn for every point of their own.
    fn inputs_of_model(&mut self, x: Expr<'b>, anchor: Anchor) -> HashMap<String, Expr<'b>> {
        let named = |&input: &ValueId| (self.model.value(input).name.to_string(), self.model.value(input).ty.clone());
        let mut inputs = self.model.inputs().iter().map(named).collect::<Vec<_>>().into_iter();
        let first = inputs.next().map(|(name, _)| (name, x));
        let further = inputs.map(|(name, ty)| {
            let own = if name.starts_with("mask_") { format!("{name}{}", anchor.suffix()) } else { name.clone() };
            (name, self.feed(&own, &ty))
        });
        let further: Vec<_> = further.collect();
        first.into_iter().chain(further).collect()
    }

    /// The gradient of cross-entropy as a graph from elsewhere has it; towards `target` it is followed downwards.
    pub fn supplied(&mut self, graph: &Graph, anchor: Anchor) -> Expr<'b> {
        let x = self.point_of(anchor);
        let class = self.class();
        let outputs = self.builder.inline(graph, &|name, _| Some(if name == "y" { class.id } else { x.id }));
        match outputs.map(|outputs| outputs.into_iter().next()) {
            Ok(Some((_, id))) if self.link.targeted => -self.builder.expr(id),
            Ok(Some((_, id))) => self.builder.expr(id),
            Ok(None) => {
                self.builder.graph_mut().add_problem("the gradient graph gives nothing".into());
                x
            }
            Err(why) => {
                self.builder.graph_mut().add_problem(format!("the gradient graph does not fit: {why}"));
                x
            }
        }
    }

    /// Σ ct·∂y/∂x; zero where no path leads from `x` to `y`.
    pub fn pull(&self, y: Expr<'b>, ct: Expr<'b>, x: Expr<'b>) -> Result<Expr<'b>, LinkError> {
        let found = vjp(self.builder, y.id, ct.id, &[x.id])?;
        Ok(found[0].map_or_else(|| x * 0.0, |id| self.builder.expr(id)))
    }

    /// The value of `x`, `x0` or `x_clean`.
    pub fn point_of(&mut self, anchor: Anchor) -> Expr<'b> {
        match (anchor, self.point) {
            (Anchor::Here, Some(x)) => x,
            (Anchor::Here, None) => self.feed("x", &ValueType::default()),
            (Anchor::Origin, _) => self.feed("x0", &ValueType::default()),
            (Anchor::Clean, _) => self.feed("x_clean", &ValueType::default()),
            (Anchor::Adversarial, _) => self.feed("x_adv", &ValueType::default()),
        }
    }

    /// The ball around `x0`, with the fed radius or one per sample, float[N].
    pub fn ball(&mut self, eps: Option<Expr<'b>>) -> Ball<'b> {
        let x0 = self.feed("x0", &ValueType::default());
        let eps = match eps {
            Some(eps) if eps.rank() == Some(1) => eps.unsqueeze(&[1, 2, 3]),
            Some(eps) => eps,
            None => self.feed("eps", &ValueType::default()),
        };
        let threat = self.link.threat;
        Ball { x0, eps, lo: x0.scalar(threat.lo.into()), hi: x0.scalar(threat.hi.into()) }
    }

    /// The point of ball and box for `x`; for attacks under a parametrised threat model the parameter in its ball.
    pub fn project(&mut self, x: Expr<'b>, eps: Option<Expr<'b>>) -> Result<Expr<'b>, LinkError> {
        let threat = self.link.threat;
        match self.moved("Project")? {
            None => {
                let ball = self.ball(eps);
                Ok((threat.norm.project)(self.shaped(x), ball).reshape_like(x))
            }
            Some(ranges) => {
                let eps = match eps {
                    Some(eps) if eps.rank() == Some(1) => eps.unsqueeze(&[1]),
                    Some(eps) => eps,
                    None => self.feed("eps", &ValueType::default()),
                };
                Ok(ranges.project(x, eps, &threat.scale, self.shape()))
            }
        }
    }

    /// The steepest direction for a gradient of `x`, or of `z` for attacks under a parametrised threat model.
    pub fn steepest(&self, g: Expr<'b>) -> Result<Expr<'b>, LinkError> {
        let threat = self.link.threat;
        Ok(match self.moved("Steepest")? {
            None => (threat.norm.steepest)(self.shaped(g)).reshape_like(g),
            Some(ranges) => ranges.steepest(g, &threat.scale, self.shape()),
        })
    }

    /// What a function of the threat model is about: the image (`None`), or for attacks its parameter.
    fn moved(&self, function: &str) -> Result<Option<Ranges>, LinkError> {
        let row = self.link.threat.norm;
        let Some(parameter) = row.parameter else { return Ok(None) };
        if let (true, Some(ranges)) = (self.attacks, parameter.ranges()) {
            return Ok(Some(ranges));
        }
        if self.attacks {
            let why = format!("has no meaning under the threat model {}, whose parameter takes single values", row.name);
            return Err(LinkError::Function { name: function.to_owned(), why });
        }
        let why = format!("moves the parameter of an attack under the threat model {}; metrics look at images", row.name);
        Err(LinkError::Function { name: function.to_owned(), why })
    }

    /// C, H, W of the model's images.
    pub fn shape(&self) -> [usize; 3] {
        let extents: Vec<usize> = self.image().shape.unwrap_or_default().iter().skip(1).map(|d| d.fixed().unwrap_or(1)).collect();
        extents.try_into().unwrap_or([1, 1, 1])
    }

    /// In the shape of the model's input.
    pub fn shaped(&self, x: Expr<'b>) -> Expr<'b> {
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
        self.model.inputs().first().map(|&input| self.model.value(input).ty.clone()).unwrap_or_default()
    }
}

/// The names of inputs that belong to a model and are fed with it.
fn is_of_model(name: &str) -> bool {
    ["param_", "stat_", "mask_"].iter().any(|prefix| name.starts_with(prefix))
}

/// The names that the host feeds at run time.
pub(super) fn is_fed(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "x0",
        "x",
        "x_clean",
        "x_second",
        "x_adv",
        "z",
        "y",
        "target",
        "k",
        "restart",
        "i",
        "broken",
        "eps",
        "direction",
        "delta",
        "dx",
    ];
    NAMES.contains(&name) || ["noise_", "shared_noise_", "state_", "obs_"].iter().any(|prefix| name.starts_with(prefix))
}

/// How many draws the scores of a model are of, where it gives those of several, and whether losses are averaged over them.
fn draws_of(model: &Graph) -> Option<(usize, bool)> {
    let output = model.outputs().iter().find(|output| [DRAWS, GRADIENT_DRAWS].contains(&&*output.name))?;
    Some((model.shape(output.value)?.get(1)?.fixed()?, &*output.name == DRAWS))
}
