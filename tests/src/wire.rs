//! ONNX files written byte by byte, wrong ones too: no check of the project stands between a test and the file it wants.
//! Field numbers are those of `onnx.proto`.

/// A small model under construction. Dimensions of interfaces are written as text: `float[N,1,8,8]`.
#[derive(Clone)]
pub struct Model {
    pub ir_version: u64,
    pub opsets: Vec<(String, u64)>,
    pub nodes: Vec<Vec<u8>>,
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
}

/// The value of an attribute.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Ints(&'a [i64]),
    Floats(&'a [f32]),
    Text(&'a str),
    Texts(&'a [&'a str]),
}

/// Elements of a tensor.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    Float(&'a [f32]),
    Double(&'a [f64]),
    /// Stored with 10 bits of fraction; the numbers must be normal there.
    Float16(&'a [f32]),
    /// Stored as the upper half of a float.
    Bfloat16(&'a [f32]),
    Int(&'a [i64]),
    Int32(&'a [i32]),
    Int8(&'a [i8]),
    Uint8(&'a [u8]),
    Text(&'a [&'a str]),
    /// Keys and values of `external_data`; elements are floats.
    External(&'a [(&'a str, &'a str)]),
}

impl Model {
    pub fn new() -> Model {
        Model {
            ir_version: 8,
            opsets: vec![(String::new(), 18)],
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            tensors: Vec::new(),
        }
    }

    pub fn opset(mut self, domain: &str, version: u64) -> Model {
        self.opsets.retain(|(d, _)| d != domain);
        self.opsets.push((domain.to_owned(), version));
        self
    }

    /// `Op` or `domain:Op`, with the name of the node: the output's with `node_` before it.
    pub fn node(self, op: &str, inputs: &[&str], output: &str) -> Model {
        self.node_with(op, inputs, output, &[])
    }

    /// With integer attributes.
    pub fn node_with(mut self, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Model {
        let (domain, op) = op.rsplit_once(':').unwrap_or(("", op));
        let mut node: Vec<u8> = inputs.iter().flat_map(|i| text(1, i)).collect();
        node.extend([text(2, output), text(3, &format!("node_{output}")), text(4, op)].concat());
        for (name, value) in attributes {
            node.extend(bytes(5, &[text(1, name), int(3, *value as u64), int(20, 2)].concat()));
        }
        node.extend(text(7, domain));
        self.nodes.push(node);
        self
    }

    /// With several outputs and attributes of any kind.
    pub fn node_of(mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Value)]) -> Model {
        let (domain, op) = op.rsplit_once(':').unwrap_or(("", op));
        let mut node: Vec<u8> = inputs.iter().flat_map(|i| text(1, i)).collect();
        node.extend(outputs.iter().flat_map(|o| text(2, o)));
        node.extend([text(3, &format!("node_{}", outputs[0])), text(4, op), text(7, domain)].concat());
        for (name, value) in attributes {
            let (kind, value) = match value {
                Value::Ints(v) => (7, v.iter().flat_map(|v| int(8, *v as u64)).collect()),
                Value::Floats(v) => (6, bytes(7, &v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())),
                Value::Text(v) => (3, text(4, v)),
                Value::Texts(v) => (8, v.iter().flat_map(|v| text(9, v)).collect()),
            };
            node.extend(bytes(5, &[text(1, name), value, int(20, kind)].concat()));
        }
        self.nodes.push(node);
        self
    }

    pub fn input(mut self, name: &str, ty: &str) -> Model {
        self.inputs.push(interface(name, &tensor_type(ty)));
        self
    }

    pub fn output(mut self, name: &str, ty: &str) -> Model {
        self.outputs.push(interface(name, &tensor_type(ty)));
        self
    }

    /// An output that is a sequence of tensors.
    pub fn sequence_output(mut self, name: &str) -> Model {
        self.outputs.push(interface(name, &bytes(4, &bytes(1, &tensor_type("float[N,10]")))));
        self
    }

    pub fn tensor(mut self, name: &str, shape: &[usize], data: Data) -> Model {
        let mut tensor: Vec<u8> = shape.iter().flat_map(|&n| int(1, n as u64)).collect();
        let (code, raw): (u64, Vec<u8>) = match data {
            Data::Float(v) => (1, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Double(v) => (11, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Float16(v) => (10, v.iter().flat_map(|v| float16(*v).to_le_bytes()).collect()),
            Data::Bfloat16(v) => (16, v.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect()),
            Data::Int(v) => (7, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Int32(v) => (6, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Int8(v) => (3, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Uint8(v) => (2, v.to_vec()),
            Data::Text(_) => (8, Vec::new()),
            Data::External(_) => (1, Vec::new()),
        };
        tensor.extend([int(2, code), text(8, name)].concat());
        match data {
            Data::External(entries) => {
                for (key, value) in entries {
                    tensor.extend(bytes(13, &[text(1, key), text(2, value)].concat()));
                }
                tensor.extend(int(14, 1));
            }
            Data::Text(words) => words.iter().for_each(|word| tensor.extend(text(6, word))),
            _ => tensor.extend(bytes(9, &raw)),
        }
        self.tensors.push(tensor);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut graph: Vec<u8> = self.nodes.iter().flat_map(|n| bytes(1, n)).collect();
        graph.extend(text(2, "graph"));
        let lists = [(5, &self.tensors), (11, &self.inputs), (12, &self.outputs)];
        graph.extend(lists.into_iter().flat_map(|(field, list)| list.iter().flat_map(move |m| bytes(field, m))));
        let mut model = [int(1, self.ir_version), text(2, "tests"), bytes(7, &graph)].concat();
        for (domain, version) in &self.opsets {
            model.extend(bytes(8, &[text(1, domain), int(2, *version)].concat()));
        }
        model
    }
}

/// The bits of a number that half precision holds.
fn float16(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, exponent, fraction) = (bits >> 31, bits >> 23 & 0xff, bits & 0x7f_ffff);
    assert!(
        value == 0.0 || (113..143).contains(&exponent) && fraction.trailing_zeros() >= 13,
        "{value} is not of half precision"
    );
    if value == 0.0 { (sign << 15) as u16 } else { (sign << 15 | (exponent - 112) << 10 | fraction >> 13) as u16 }
}

/// A field of a number.
pub fn int(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field of bytes or of a message.
pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn interface(name: &str, ty: &[u8]) -> Vec<u8> {
    [text(1, name), bytes(2, ty)].concat()
}

/// `float[N,10]` as a TypeProto.
fn tensor_type(ty: &str) -> Vec<u8> {
    let (element, dims) = ty.trim_end_matches(']').split_once('[').expect("element[dims]");
    let code = match element {
        "float" => 1,
        "uint8" => 2,
        "int64" => 7,
        "string" => 8,
        "float16" => 10,
        "bfloat16" => 16,
        "double" => 11,
        other => panic!("no element type is called {other}"),
    };
    let dim = |d: &str| bytes(1, &d.parse::<i64>().map_or_else(|_| text(2, d), |n| int(1, n as u64)));
    let shape: Vec<u8> = dims.split(',').filter(|d| !d.is_empty()).flat_map(dim).collect();
    bytes(1, &[int(1, code), bytes(2, &shape)].concat())
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order. `None` if it is not protobuf.
pub fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    fn number(rest: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, behind) = rest.split_first()?;
            *rest = behind;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message)?;
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, Field::Number(number(&mut message)?)));
                continue;
            }
            1 => 8,
            2 => usize::try_from(number(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, behind) = message.split_at_checked(length)?;
        found.push((key >> 3, Field::Bytes(value)));
        message = behind;
    }
    Some(found)
}

/// The messages, texts or packed numbers of one field.
pub fn each(message: &[u8], field: u64) -> Vec<&[u8]> {
    let bytes = |(f, value)| match value {
        Field::Bytes(value) if f == field => Some(value),
        _ => None,
    };
    fields(message).unwrap_or_default().into_iter().filter_map(bytes).collect()
}

/// The number of one field, 0 where it does not stand.
pub fn number(message: &[u8], field: u64) -> u64 {
    let of = |(f, value)| match value {
        Field::Number(value) if f == field => Some(value),
        _ => None,
    };
    fields(message).unwrap_or_default().into_iter().find_map(of).unwrap_or(0)
}
