//! The gate's walk through a pickle: what it asks for, what it declares, and what reading it would cost.
//!
//! A pickle is a program for a small stack machine. This walk runs it on descriptions instead of objects: it imports
//! nothing, calls nothing, and keeps of a value only what the checks need. It understands what a tensor checkpoint needs
//! and refuses everything else, so that nothing has to be known to be dangerous. burn-store's reader, which copies a
//! value each time it is stored or fetched, runs only on what this walk has passed; `held` bounds what that costs.

mod names;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use names::{Name, name};
use view::{Storage, View, size};

/// Bytes of all pickles of a file, inflated.
pub(super) const MAX_BYTES: u64 = 16 << 20;
/// Opcodes of all pickles of a file.
const MAX_OPCODES: u32 = 2_000_000;
/// What a reader may hold of values, in bytes: a checkpoint of 1 000 tensors takes about 10 MiB.
const MAX_HELD: u64 = 112 << 20;
/// What a value costs a reader, in bytes, with its places on the stack and in the memo.
const VALUE: u64 = 256;
/// What a tensor's description costs a reader beyond that.
const TENSOR: u64 = 1024;
/// Containers within containers.
const MAX_DEPTH: u16 = 100;
/// Axes of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// Why a pickle is refused: a clause that follows the entry's name.
pub(super) type Refused<T> = Result<T, String>;

/// What is said of a pickle that asks for more than tensors.
const CODE: &str = "contains code; not run";

/// What the walk keeps of a value.
#[derive(Debug, Clone)]
enum Kind {
    Int(i64),
    Magic,
    Text(Rc<str>),
    Tuple(Rc<[Value]>),
    List,
    Dict,
    Name(Name),
    Storage(Rc<str>),
    Tensor,
    /// Nothing that the checks need: numbers, bytes, settings.
    Other,
}

/// A value on the stack or in the memo, with what it weighs for a reader that copies it whole.
#[derive(Debug, Clone)]
struct Value {
    kind: Kind,
    /// Values in it, itself included.
    nodes: u64,
    /// Bytes of text in it.
    text: u64,
    /// Tensors in it: each is named by its whole path.
    tensors: u64,
    depth: u16,
}

impl Value {
    fn new(kind: Kind) -> Self {
        let text = match &kind {
            Kind::Text(text) => text.len() as u64,
            _ => 0,
        };
        let tensors = u64::from(matches!(kind, Kind::Tensor));
        Self { kind, nodes: 1, text, tensors, depth: 0 }
    }

    /// Takes another value in.
    fn absorb(&mut self, inner: &Value) -> Refused<()> {
        self.nodes = self.nodes.saturating_add(inner.nodes);
        self.text = self.text.saturating_add(inner.text);
        self.tensors = self.tensors.saturating_add(inner.tensors);
        self.depth = self.depth.max(inner.depth + 1);
        if self.depth > MAX_DEPTH {
            return Err(format!("containers lie more than {MAX_DEPTH} deep in one another"));
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        VALUE.saturating_mul(self.nodes).saturating_add(self.text).saturating_add(TENSOR.saturating_mul(self.tensors))
    }

    fn count(&self, what: &str) -> Refused<u64> {
        match self.kind {
            Kind::Int(number) => u64::try_from(number).map_err(|_| format!("{what} of {number}")),
            _ => Err(format!("{what} that is no number")),
        }
    }

    fn fields(&self, what: &str) -> Refused<&[Value]> {
        match &self.kind {
            Kind::Tuple(fields) => Ok(fields),
            _ => Err(format!("{what} that is no tuple")),
        }
    }

    /// A name or a storage's key, which PyTorch writes as text or as an integer.
    fn key(&self) -> Refused<Rc<str>> {
        match &self.kind {
            Kind::Text(text) => Ok(text.clone()),
            Kind::Int(number) => Ok(number.to_string().into()),
            _ => Err("a name is neither text nor number".into()),
        }
    }
}

/// The walk. Limits hold for all pickles of a file together; stack and memo are each pickle's own.
pub(super) struct Walk {
    bytes: u64,
    opcodes: u32,
    held: u64,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Every storage by its key.
    pub(super) storages: BTreeMap<Rc<str>, Storage>,
    views: HashSet<View>,
    /// Bytes of all different views.
    pub(super) declared: u64,
}

/// A pickle's value, as far as the gate needs it.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// PyTorch's magic number.
    Magic,
    /// A number.
    Number(i64),
    /// Anything else, with so many tensors in it.
    Object { tensors: u64 },
}

impl Outcome {
    /// How many tensors a reader names.
    pub(super) fn tensors(&self) -> u64 {
        match self {
            Self::Object { tensors } => *tensors,
            Self::Magic | Self::Number(_) => 0,
        }
    }
}

/// The number 0x1950a86a20f9469cfc6c, which opens the files of `torch.save` before version 1.6.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

impl Walk {
    /// A walk that has seen nothing.
    pub(super) fn new() -> Self {
        Self {
            bytes: MAX_BYTES,
            opcodes: 0,
            held: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            storages: BTreeMap::new(),
            views: HashSet::new(),
            declared: 0,
        }
    }

    /// Whether any tensor was declared.
    pub(super) fn holds_tensors(&self) -> bool {
        !self.views.is_empty()
    }

    /// Walks one pickle, up to its `STOP`.
    ///
    /// # Errors
    /// What it asks for or declares that a tensor checkpoint does not need.
    pub(super) fn pickle(&mut self, from: &mut impl BufRead) -> Refused<Outcome> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            self.opcodes += 1;
            if self.opcodes > MAX_OPCODES {
                return Err(format!("the pickle has more than {MAX_OPCODES} opcodes"));
            }
            let [opcode] = self.read(from)?;
            if opcode == b'.' {
                break;
            }
            self.step(opcode, from)?;
        }
        let last = self.pop()?;
        Ok(match last.kind {
            Kind::Magic => Outcome::Magic,
            Kind::Int(number) => Outcome::Number(number),
            _ => Outcome::Object { tensors: last.tensors },
        })
    }

    fn step(&mut self, opcode: u8, from: &mut impl BufRead) -> Refused<()> {
        match opcode {
            0x80 => {
                let [version] = self.read(from)?;
                if version > 5 {
                    return Err(format!("pickle protocol {version} is unknown"));
                }
            }
            0x95 => {
                // A frame's length only helps readers that read ahead.
                let _: [u8; 8] = self.read(from)?;
            }

            // Numbers and constants.
            b'N' | 0x88 | 0x89 => self.push(Kind::Other)?,
            b'I' | b'L' => {
                let line = self.line(from)?;
                let number = line.trim_end_matches('L').parse().map_or(Kind::Other, Kind::Int);
                self.push(number)?;
            }
            b'F' => {
                self.line(from)?;
                self.push(Kind::Other)?;
            }
            b'J' => {
                let number = i32::from_le_bytes(self.read(from)?);
                self.push(Kind::Int(number.into()))?;
            }
            b'K' => {
                let [number] = self.read(from)?;
                self.push(Kind::Int(number.into()))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.read(from)?);
                self.push(Kind::Int(number.into()))?;
            }
            b'G' => {
                let _: [u8; 8] = self.read(from)?;
                self.push(Kind::Other)?;
            }
            0x8a => {
                let [length] = self.read(from)?;
                self.long(from, length.into())?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.read(from)?);
                self.long(from, length.into())?;
            }

            // Text and bytes.
            b'V' | b'S' => {
                let line = self.line(from)?;
                self.text(line)?;
            }
            0x8c | b'U' => {
                let [length] = self.read(from)?;
                self.counted_text(from, length.into())?;
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.read(from)?);
                self.counted_text(from, length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.read(from)?);
                self.counted_text(from, length)?;
            }
            b'C' => {
                let [length] = self.read(from)?;
                self.raw(from, length.into())?;
            }
            b'B' => {
                let length = u32::from_le_bytes(self.read(from)?);
                self.raw(from, length.into())?;
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.read(from)?);
                self.raw(from, length)?;
            }

            // Containers.
            b'(' => {
                self.charge(VALUE)?;
                self.marks.push(self.stack.len());
            }
            b')' => self.push(Kind::Tuple([].into()))?,
            b']' | 0x8f => self.push(Kind::List)?,
            b'}' => self.push(Kind::Dict)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.tuple(items)?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let items = self.pop_many(count)?;
                self.tuple(items)?;
            }
            b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Kind::List)?;
                self.append(&items)?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Kind::Dict)?;
                self.set(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }

            // The stack and the memo.
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let copy = self.top()?.clone();
                self.push_value(copy)?;
            }
            b'g' => {
                let index = self.index(from)?;
                self.get(index)?;
            }
            b'h' => {
                let [index] = self.read(from)?;
                self.get(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.read(from)?);
                self.get(index)?;
            }
            b'p' => {
                let index = self.index(from)?;
                self.put(index)?;
            }
            b'q' => {
                let [index] = self.read(from)?;
                self.put(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.read(from)?);
                self.put(index)?;
            }
            0x94 => {
                let index = self.memo.len() as u32;
                self.put(index)?;
            }

            // Names, calls and objects.
            b'c' => {
                let (module, name) = (self.line(from)?, self.line(from)?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let [module, name] = self.pop_two()?;
                self.global(&module.key()?, &name.key()?)?;
            }
            b'i' => {
                let (module, name) = (self.line(from)?, self.line(from)?);
                return Err(format!("{CODE} ({module}.{name})"));
            }
            b'P' => return Err("a storage is named in the way of PyTorch before 0.1.10".into()),
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(&id)?;
                self.push(storage)?;
            }
            b'R' => {
                let [callable, arguments] = self.pop_two()?;
                let result = self.call(&callable, &arguments)?;
                self.push_value(result)?;
            }
            0x81 => {
                let [class, arguments] = self.pop_two()?;
                let result = self.instance(&class, &[arguments])?;
                self.push_value(result)?;
            }
            0x92 => {
                let keywords = self.pop()?;
                let [class, arguments] = self.pop_two()?;
                let result = self.instance(&class, &[arguments, keywords])?;
                self.push_value(result)?;
            }
            b'b' => {
                let [object, state] = self.pop_two()?;
                let result = self.build(object, &state)?;
                self.push_value(result)?;
            }
            b'o' => return Err(format!("{CODE} (OBJ)")),
            0x82..=0x84 => return Err(format!("{CODE} (an entry of the extension registry)")),
            0x97 | 0x98 => return Err("it needs buffers that are not in the file".into()),
            unknown => return Err(format!("0x{unknown:02x} is no pickle opcode: the file is damaged or no pickle")),
        }
        Ok(())
    }

    // Reading.

    fn read<const N: usize>(&mut self, from: &mut impl BufRead) -> Refused<[u8; N]> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        from.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    /// `length` bytes, which are reserved only as they arrive.
    fn bytes(&mut self, from: &mut impl BufRead, length: u64) -> Refused<Vec<u8>> {
        self.spend(length)?;
        self.charge(length)?;
        let mut bytes = Vec::new();
        from.take(length).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err("the pickle ends in the middle".into()) }
    }

    fn line(&mut self, from: &mut impl BufRead) -> Refused<String> {
        let mut line = Vec::new();
        from.by_ref().take(self.bytes).read_until(b'\n', &mut line).map_err(unreadable)?;
        self.spend(line.len() as u64)?;
        self.charge(line.len() as u64)?;
        if line.pop() != Some(b'\n') {
            return Err("the pickle ends in the middle".into());
        }
        String::from_utf8(line).map_err(|_| "a line of the pickle is no text".into())
    }

    fn index(&mut self, from: &mut impl BufRead) -> Refused<u32> {
        self.line(from)?.trim().parse().map_err(|_| "a place of the memo is no number".into())
    }

    fn spend(&mut self, bytes: u64) -> Refused<()> {
        self.bytes =
            self.bytes.checked_sub(bytes).ok_or_else(|| format!("the pickle is longer than {MAX_BYTES} bytes"))?;
        Ok(())
    }

    fn charge(&mut self, cost: u64) -> Refused<()> {
        self.held = self.held.saturating_add(cost);
        if self.held > MAX_HELD {
            return Err(format!("its values would take more than {} MiB to read", MAX_HELD >> 20));
        }
        Ok(())
    }

    fn long(&mut self, from: &mut impl BufRead, length: u64) -> Refused<()> {
        let bytes = self.bytes(from, length)?;
        let kind = match bytes.len() {
            _ if bytes == MAGIC => Kind::Magic,
            length @ 0..=8 => {
                let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
                let mut whole = [sign; 8];
                whole[..length].copy_from_slice(&bytes);
                Kind::Int(i64::from_le_bytes(whole))
            }
            _ => Kind::Other,
        };
        self.push(kind)
    }

    fn counted_text(&mut self, from: &mut impl BufRead, length: u64) -> Refused<()> {
        let bytes = self.bytes(from, length)?;
        match String::from_utf8(bytes) {
            Ok(text) => self.text(text),
            // Python 2 wrote bytes in this way too.
            Err(_) => self.push(Kind::Other),
        }
    }

    fn text(&mut self, text: String) -> Refused<()> {
        self.push(Kind::Text(text.into()))
    }

    fn raw(&mut self, from: &mut impl BufRead, length: u64) -> Refused<()> {
        let bytes = self.bytes(from, length)?;
        // A copy of these bytes costs a reader what a copy of as much text does.
        let value = Value { text: bytes.len() as u64, ..Value::new(Kind::Other) };
        self.push_value(value)
    }

    // The stack.

    fn push(&mut self, kind: Kind) -> Refused<()> {
        self.push_value(Value::new(kind))
    }

    fn push_value(&mut self, value: Value) -> Refused<()> {
        self.charge(value.cost())?;
        self.stack.push(value);
        Ok(())
    }

    fn top(&self) -> Refused<&Value> {
        self.stack[self.marks.last().copied().unwrap_or(0)..].last().ok_or_else(|| "a value is missing".into())
    }

    fn pop(&mut self) -> Refused<Value> {
        self.top()?;
        self.stack.pop().ok_or_else(|| "a value is missing".into())
    }

    fn pop_two(&mut self) -> Refused<[Value; 2]> {
        let second = self.pop()?;
        Ok([self.pop()?, second])
    }

    fn pop_many(&mut self, count: usize) -> Refused<Vec<Value>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= floor);
        Ok(self.stack.split_off(start.ok_or("a value is missing")?))
    }

    fn pop_to_mark(&mut self) -> Refused<Vec<Value>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn get(&mut self, index: u32) -> Refused<()> {
        let value = self.memo.get(&index).cloned().ok_or_else(|| format!("place {index} of the memo is empty"))?;
        self.push_value(value)
    }

    fn put(&mut self, index: u32) -> Refused<()> {
        let value = self.top()?.clone();
        self.charge(value.cost())?;
        self.memo.insert(index, value);
        Ok(())
    }

    // Containers.

    fn tuple(&mut self, items: Vec<Value>) -> Refused<()> {
        let mut tuple = Value::new(Kind::Tuple([].into()));
        items.iter().try_for_each(|item| tuple.absorb(item))?;
        tuple.kind = Kind::Tuple(items.into());
        self.charge(VALUE)?;
        self.stack.push(tuple);
        Ok(())
    }

    fn append(&mut self, items: &[Value]) -> Refused<()> {
        let mut list = self.pop()?;
        if !matches!(list.kind, Kind::List) {
            return Err("something is appended to what is no list".into());
        }
        for item in items {
            // The tensor's place becomes a part of its name.
            self.charge(item.tensors.saturating_mul(2 * 8))?;
            list.absorb(item)?;
        }
        self.stack.push(list);
        Ok(())
    }

    /// Enters keys and values; a tensor's name is its path, so that a key counts once for every tensor beneath it.
    fn set(&mut self, items: &[Value]) -> Refused<()> {
        let mut dict = self.pop()?;
        if !matches!(dict.kind, Kind::Dict) {
            return Err("an entry is made in what is no dictionary".into());
        }
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key has no value".into());
        }
        for [key, value] in pairs {
            self.charge((key.text + 8).saturating_mul(2).saturating_mul(value.tensors))?;
            dict.absorb(key)?;
            dict.absorb(value)?;
        }
        self.stack.push(dict);
        Ok(())
    }

    // Names and what is made of them.

    fn global(&mut self, module: &str, known_as: &str) -> Refused<()> {
        let name = name(module, known_as).ok_or_else(|| {
            let shown: String = format!("{module}.{known_as}").chars().filter(|c| !c.is_control()).take(80).collect();
            format!("{CODE} ({shown})")
        })?;
        self.push(Kind::Name(name))
    }

    /// `('storage', type, key, location, length)` and, in old files, a view of it.
    fn storage(&mut self, id: &Value) -> Refused<Kind> {
        let [tag, kind, key, _location, length, view @ ..] = id.fields("a storage")? else {
            return Err("a storage has fewer than five properties".into());
        };
        if !matches!(&tag.kind, Kind::Text(tag) if &**tag == "storage") {
            return Err("something outside of the pickle is asked for that is no storage".into());
        }
        let Kind::Name(Name::Storage(dtype)) = kind.kind else {
            return Err("a storage is of an unknown type".into());
        };
        if !matches!(view, [] | [Value { kind: Kind::Other, .. }]) {
            return Err("a storage is a view of another".into());
        }
        let key = key.key()?;
        let length = length.count("a storage's length")?;
        let bytes =
            length.checked_mul(size(dtype)).ok_or_else(|| format!("storage `{key}` is longer than any file"))?;
        let storage = Storage { bytes, dtype };
        let known = *self.storages.entry(key.clone()).or_insert(storage);
        if known != storage {
            return Err(format!("storage `{key}` is declared twice in different ways"));
        }
        Ok(Kind::Storage(key))
    }

    fn call(&mut self, callable: &Value, arguments: &Value) -> Refused<Value> {
        let fields = arguments.fields("arguments")?;
        match callable.kind {
            Kind::Name(Name::Tensor) => self.tensor(fields),
            Kind::Name(Name::Parameter) => {
                let data = fields.first().ok_or("a parameter has no tensor")?;
                if fields[1..].iter().any(|field| field.tensors > 0) {
                    return Err("a parameter has further tensors as its state".into());
                }
                Ok(data.clone())
            }
            Kind::Name(Name::FromType) => match fields {
                [function, _class, inner, state @ ..] if state.iter().all(|state| state.tensors == 0) => {
                    self.call(function, inner)
                }
                _ => Err("a tensor of an unknown kind".into()),
            },
            Kind::Name(name @ (Name::Dict | Name::Set)) => {
                let mut made = Value::new(if name == Name::Dict { Kind::Dict } else { Kind::List });
                made.absorb(arguments)?;
                Ok(made)
            }
            _ => self.instance(callable, fields),
        }
    }

    /// An object of a known name: what it is made of is counted and forgotten.
    fn instance(&mut self, class: &Value, arguments: &[Value]) -> Refused<Value> {
        let Kind::Name(Name::Inert) = class.kind else {
            return Err(format!("{CODE} (something is called that is no known name)"));
        };
        if arguments.iter().any(|argument| argument.tensors > 0 || matches!(argument.kind, Kind::Storage(_))) {
            return Err("tensors are hidden in an object".into());
        }
        Ok(Value::new(Kind::Other))
    }

    /// A state set on an object: a dictionary's extra attributes, or an inert object's fields.
    fn build(&mut self, mut object: Value, state: &Value) -> Refused<Value> {
        match object.kind {
            Kind::Dict | Kind::List => object.absorb(state)?,
            Kind::Other if state.tensors == 0 => object.absorb(state)?,
            Kind::Other => return Err("tensors are hidden in an object".into()),
            _ => return Err(format!("{CODE} (a state is set on what is no object)")),
        }
        Ok(object)
    }

    /// `_rebuild_tensor…(storage, offset, size, stride, …)`, and for version 3 the type after two more.
    fn tensor(&mut self, fields: &[Value]) -> Refused<Value> {
        let [storage, offset, shape, strides, more @ ..] = fields else {
            return Err("a tensor has fewer than four properties".into());
        };
        let Kind::Storage(key) = &storage.kind else {
            return Err("a tensor has no storage".into());
        };
        let storage = *self.storages.get(key).ok_or("a tensor's storage is unknown")?;
        let stated = match more {
            [_, _, Value { kind: Kind::Name(Name::Dtype(dtype)), .. }, ..] => Some(*dtype),
            _ => None,
        };
        let dtype = stated.or(storage.dtype).ok_or("a tensor's type of numbers is not stated")?;
        let numbers = |value: &Value, what: &str| -> Refused<Vec<u64>> {
            value.fields(what)?.iter().map(|number| number.count(what)).collect()
        };
        let view = View {
            storage: key.clone(),
            dtype,
            offset: offset.count("an offset")?,
            shape: numbers(shape, "a shape")?,
            strides: numbers(strides, "a stride")?,
        };
        let bytes = view.check(storage.bytes)?;
        if !self.views.contains(&view) {
            self.declared = self.declared.checked_add(bytes).ok_or("the tensors are larger than any memory")?;
            self.views.insert(view);
        }
        Ok(Value::new(Kind::Tensor))
    }
}

fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the pickle ends in the middle".into(),
        _ => format!("it cannot be read ({error})"),
    }
}
