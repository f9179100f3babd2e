//! Broken and malicious checkpoints, each with what its refusal has to say.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file and the words that its refusal must contain.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) says: &'static str,
}

/// A pickle in the making.
#[derive(Clone, Default)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// A number of up to 8 bytes (`LONG1`).
    fn number(self, number: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    fn numbers(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickle, number| pickle.number(*number)).raw(b"t")
    }

    fn storage(self, kind: &str, key: &str, length: i64) -> Self {
        self.raw(b"(").text("storage").global("torch", kind).text(key).text("cpu").number(length).raw(b"tQ")
    }

    /// `_rebuild_tensor_v2` on a storage of `length` numbers.
    fn view(self, kind: &str, key: &str, length: i64, shape: &[i64], strides: &[i64]) -> Self {
        let start = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage(kind, key, length);
        let numbers = start.number(0).numbers(shape).numbers(strides);
        numbers.raw(b"\x89").global("collections", "OrderedDict").raw(b")RtR")
    }

    /// A whole tensor with a storage of its own.
    pub(crate) fn tensor(self, kind: &str, key: &str, shape: &[i64]) -> Self {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        self.view(kind, key, shape.iter().product(), shape, &strides)
    }

    pub(crate) fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// A file of `torch.save`: a pickle and storages.
pub(crate) fn archive(pickle: &[u8], storages: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut entries = vec![("archive/data.pkl".to_string(), pickle)];
    entries.extend(storages.iter().map(|(key, bytes)| (format!("archive/data/{key}"), *bytes)));
    entries.push(("archive/version".into(), b"3\n"));
    zipped(&entries, method)
}

fn zipped(entries: &[(String, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(name.as_str(), options).expect("an entry");
        writer.write_all(bytes).expect("its bytes");
    }
    writer.finish().expect("an archive").into_inner()
}

fn stored(pickle: &[u8]) -> Vec<u8> {
    archive(pickle, &[("0", &[0; 64])], CompressionMethod::Stored)
}

fn deflated(pickle: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = (0..64u8).map(|byte| byte.wrapping_mul(83) ^ byte >> 2).collect();
    archive(pickle, &[("0", &numbers)], CompressionMethod::Deflated)
}

/// Opcodes over and over, with so many random numbers among them that no ratio gives them away.
fn diluted(opcodes: &[u8], count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::new();
    for index in 0..count {
        bytes.extend_from_slice(opcodes);
        if index % 32 == 0 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&[b'K', (state >> 56) as u8, b'0']);
        }
    }
    bytes
}

/// Text that hardly compresses.
fn noise(length: usize) -> String {
    let bytes = diluted(b"", 32 * length / 3);
    bytes.iter().skip(1).step_by(3).map(|byte| char::from(b'!' + byte % 64)).take(length).collect()
}

/// A safetensors file of any header.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// The tensors of a small LlamaGen: names and shapes.
pub(crate) fn llamagen(layers: usize) -> Vec<(String, Vec<i64>)> {
    let (dim, hidden, codes, classes) = (16, 48, 16, 4);
    let mut tensors = vec![
        ("cls_embedding.embedding_table.weight".to_string(), vec![classes + 1, dim]),
        ("tok_embeddings.weight".into(), vec![codes, dim]),
        ("norm.weight".into(), vec![dim]),
        ("output.weight".into(), vec![codes, dim]),
    ];
    for layer in 0..layers {
        let name = |part: &str| format!("layers.{layer}.{part}.weight");
        tensors.extend([
            (name("attention.wqkv"), vec![3 * dim, dim]),
            (name("attention.wo"), vec![dim, dim]),
            (name("feed_forward.w1"), vec![hidden, dim]),
            (name("feed_forward.w3"), vec![hidden, dim]),
            (name("feed_forward.w2"), vec![dim, hidden]),
            (name("attention_norm"), vec![dim]),
            (name("ffn_norm"), vec![dim]),
        ]);
    }
    tensors
}

/// A state dict as `torch.save` writes it, every tensor with its own storage of `value`.
pub(crate) fn saved(tensors: &[(String, Vec<i64>)], kind: &str, value: &[u8]) -> Vec<u8> {
    let mut pickle = Pickle::new().raw(b"}(").text("model").raw(b"}(");
    let mut storages = Vec::new();
    for (index, (name, shape)) in tensors.iter().enumerate() {
        pickle = pickle.text(name).tensor(kind, &index.to_string(), shape);
        storages.push((index.to_string(), value.repeat(shape.iter().product::<i64>() as usize)));
    }
    let storages: Vec<(&str, &[u8])> = storages.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect();
    archive(&pickle.raw(b"uu").stop(), &storages, CompressionMethod::Stored)
}

const ONE: [u8; 4] = 1f32.to_le_bytes();

/// What asks for code, however it asks.
fn code() -> Vec<Hostile> {
    let says = "contains code; not run";
    let call = |module: &str, name: &str| {
        Pickle::new().raw(b"}(").text("model").global(module, name).raw(b"(").text("echo").raw(b"tRu").stop()
    };
    let mut stack_global = Pickle(vec![0x80, 4]).raw(b"}\x8c\x05model]\x8c\x02os\x8c\x06system\x93");
    stack_global = stack_global.raw(b"\x8c\x04echo\x85Ras.");
    let hidden = Pickle::new().global("torch._tensor", "_rebuild_from_type_v2").raw(b"(").global("os", "system");
    let hidden = hidden.global("torch", "Tensor").raw(b"(").text("echo").raw(b"t}tR").stop();
    let class_state = Pickle::new().global("argparse", "Namespace").raw(b"}").text("a").text("b").raw(b"sb").stop();
    let called_twice = Pickle::new().global("argparse", "Namespace").raw(b")R)R").stop();
    let mut legacy = vec![0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    legacy.extend_from_slice(b"\x80\x02M\xe9\x03.");
    legacy.extend(call("posix", "system"));
    vec![
        Hostile { name: "os_system.pth", bytes: stored(&call("os", "system")), says },
        Hostile { name: "posix_system.pth", bytes: stored(&call("posix", "system")), says },
        Hostile { name: "eval.pth", bytes: stored(&call("builtins", "eval")), says },
        Hostile { name: "getattr.pth", bytes: stored(&call("__builtin__", "getattr")), says },
        Hostile { name: "subprocess.pth", bytes: deflated(&call("subprocess", "Popen")), says },
        Hostile { name: "torch_load.pth", bytes: stored(&call("torch.serialization", "load")), says },
        Hostile { name: "reconstructor.pth", bytes: stored(&call("copyreg", "_reconstructor")), says },
        Hostile { name: "dotted_name.pth", bytes: stored(&call("torch", "Tensor.__init__.__globals__")), says },
        Hostile { name: "stack_global.pth", bytes: stored(&stack_global.0), says },
        Hostile { name: "hidden_in_a_type.pth", bytes: stored(&hidden), says },
        Hostile { name: "state_on_a_class.pth", bytes: stored(&class_state), says },
        Hostile { name: "a_result_is_called.pth", bytes: stored(&called_twice), says },
        Hostile { name: "inst.pth", bytes: stored(b"(S'echo'\nios\nsystem\n."), says },
        Hostile { name: "extension.pth", bytes: stored(b"\x80\x02\x82\x01)R."), says },
        Hostile { name: "protocol_0.pt", bytes: b"cos\nsystem\n(S'echo'\ntR.".to_vec(), says },
        Hostile { name: "plain_pickle.bin", bytes: call("os", "system"), says },
        Hostile { name: "legacy.pt", bytes: legacy, says },
        Hostile {
            name: "torch_script.pt",
            bytes: zipped(
                &[("m/data.pkl".into(), b"N."), ("m/code/__torch__.py".into(), b"x"), ("m/constants.pkl".into(), b")")],
                CompressionMethod::Stored,
            ),
            says,
        },
    ]
}

/// Pickles and views that take far more to read than to store.
fn bombs() -> Vec<Hostile> {
    let zero =
        Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 1, &[49_640, 49_640], &[0, 0]).raw(b"s").stop();
    let overlap =
        Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 16, &[5, 5, 5], &[1, 1, 1]).raw(b"s").stop();
    let beyond = Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 16, &[17], &[1]).raw(b"s").stop();
    let strides =
        Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 16, &[3, 3], &[i64::MAX, 1]).raw(b"s").stop();
    let huge = [1 << 40, 1 << 40];
    let shape = Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 16, &huge, &[1, 1]).raw(b"s").stop();
    let negative = Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 16, &[-4], &[1]).raw(b"s").stop();
    let axes = vec![1; 5000];
    let rank = Pickle::new().raw(b"}").text("w").view("FloatStorage", "0", 16, &axes, &axes).raw(b"s").stop();
    let long = Pickle::new().raw(b"}").text("w").storage("DoubleStorage", "0", i64::MAX).raw(b"s").stop();
    let twice =
        Pickle::new().raw(b"]").storage("FloatStorage", "0", 4).storage("FloatStorage", "0", 9).raw(b"ee").stop();
    let mut doubling = Pickle::new().raw(b"Nq\x00");
    let mut names = Pickle::new().raw(b"}").text(&"k".repeat(100_000)).raw(b"](").tensor("FloatStorage", "0", &[16]);
    names = names.raw(b"q\x00");
    for _ in 0..60 {
        doubling = doubling.raw(b"h\x00h\x00\x86q\x00");
    }
    for _ in 0..20_000 {
        names = names.raw(b"h\x00");
    }
    let mut payload = Pickle::new().raw(b"(").text(&noise(300_000)).raw(b"q\x00");
    for _ in 0..2000 {
        payload = payload.raw(b"h\x00");
    }
    let deep = Pickle::new().raw(b"N").raw(&b"\x85".repeat(100)).raw(&diluted(b"\x85", 300)).raw(b"\x85").stop();
    let memo = {
        let puts = (0..500_000u32).flat_map(|index| [&b"r"[..], &index.to_le_bytes()].concat());
        Pickle::new().raw(b"N").raw(&puts.collect::<Vec<_>>()).stop()
    };
    // As much as the bounds allow: the reader must hold it.
    let dictionaries = |count: u32| {
        let count = if count == 0 { 500_000 } else { count };
        let keys = (0..count).flat_map(|key| [&b"J"[..], &key.to_le_bytes(), b"}"].concat());
        let tensor = Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", &[16]);
        tensor.raw(&keys.collect::<Vec<_>>()).raw(b"u").stop()
    };
    let values = |count: usize| {
        let tensor = Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", &[16]).text("list").raw(b"](");
        tensor.raw(&diluted(b"N", count)).raw(b"eu").stop()
    };
    let tensors = |count: usize| {
        let tensor = Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", &[16]).raw(b"q\x00");
        tensor.text("list").raw(b"](").raw(&diluted(b"h\x00", count)).raw(b"eu").stop()
    };
    let places = |count: u32| {
        let puts = (0..count).flat_map(|index| [&b"r"[..], &index.to_le_bytes()].concat());
        let tensor = Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", &[16]);
        tensor.raw(&puts.collect::<Vec<_>>()).raw(b"u").stop()
    };
    let one_name = Pickle::new().raw(b"}(").text("a").raw(b"}").text("b").tensor("FloatStorage", "0", &[16]).raw(b"s");
    let one_name = one_name.text("a.b").tensor("FloatStorage", "0", &[16]).raw(b"u").stop();
    let own = Pickle::new().raw(b"]q\x00h\x00a}q\x01").text("me").raw(b"h\x01s\x86").stop();
    vec![
        Hostile { name: "opcodes_99_mib.pth", bytes: deflated(&vec![b'N'; 99 << 20]), says: "over 100 times" },
        Hostile { name: "pickle_17_mib.pth", bytes: deflated(&diluted(b"N0", 9 << 20)), says: "more than 16777216" },
        Hostile { name: "opcodes.pth", bytes: deflated(&diluted(b"(0", 2_000_000)), says: "to read" },
        Hostile { name: "nothing.pth", bytes: deflated(&diluted(b"\x80\x02", 2_100_000)), says: "2000000 opcodes" },
        Hostile { name: "values.pth", bytes: deflated(&diluted(b"}", 1_900_000)), says: "to read" },
        Hostile { name: "marks.pth", bytes: deflated(&diluted(b"(", 1_900_000)), says: "to read" },
        Hostile { name: "dictionaries.pth", bytes: deflated(&dictionaries(0)), says: "to read" },
        Hostile { name: "most_dictionaries.pth", bytes: deflated(&dictionaries(90_000)), says: "no family" },
        Hostile { name: "most_values.pth", bytes: deflated(&values(400_000)), says: "no family" },
        Hostile { name: "most_tensors.pth", bytes: deflated(&tensors(80_000)), says: "no family" },
        Hostile { name: "most_places.pth", bytes: deflated(&places(75_000)), says: "no family" },
        Hostile { name: "doubling.pth", bytes: stored(&doubling.raw(b".").0), says: "to read" },
        Hostile { name: "names.pth", bytes: stored(&names.raw(b"es.").0), says: "to read" },
        Hostile { name: "payload.pth", bytes: deflated(&payload.raw(b"t.").0), says: "to read" },
        Hostile { name: "memo.pth", bytes: deflated(&memo), says: "to read" },
        Hostile { name: "depth.pth", bytes: stored(&deep), says: "deep" },
        Hostile { name: "own_member.pth", bytes: stored(&own), says: "no tensors" },
        Hostile { name: "zero_stride.pth", bytes: stored(&zero), says: "stride of zero" },
        Hostile { name: "overlapping_view.pth", bytes: stored(&overlap), says: "declare" },
        Hostile { name: "beyond_the_storage.pth", bytes: stored(&beyond), says: "reaches beyond" },
        Hostile { name: "stride_overflow.pth", bytes: stored(&strides), says: "reaches beyond" },
        Hostile { name: "shape_overflow.pth", bytes: stored(&shape), says: "larger than any memory" },
        Hostile { name: "negative_shape.pth", bytes: stored(&negative), says: "-4" },
        Hostile { name: "axes.pth", bytes: stored(&rank), says: "5000 axes" },
        Hostile { name: "storage_overflow.pth", bytes: stored(&long), says: "longer than any file" },
        Hostile { name: "one_name.pth", bytes: stored(&one_name), says: "2 tensors under 1 names" },
        Hostile { name: "declared_twice.pth", bytes: stored(&twice), says: "declared twice" },
    ]
}

/// Archives that lie.
fn archives() -> Vec<Hostile> {
    let tensor = Pickle::new().raw(b"}").text("w").tensor("FloatStorage", "0", &[16]).raw(b"s").stop();
    let good = stored(&tensor);
    let end = good.len() - 22;
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let mut zip64 = good[..end].to_vec();
    let start = zip64.len() as u64;
    let directory = u64::from(u32::from_le_bytes([good[end + 16], good[end + 17], good[end + 18], good[end + 19]]));
    let record: [u64; 4] = [1 << 32, 1 << 32, start - directory, directory];
    zip64.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
    record.iter().for_each(|number| zip64.extend_from_slice(&number.to_le_bytes()));
    zip64.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    zip64.extend_from_slice(&start.to_le_bytes());
    zip64.extend_from_slice(b"\x01\0\0\0PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    // The directory's size field of an entry says 100 where a deflated pickle unfolds to much more.
    let mut lying = deflated(&b"N".repeat(1 << 20));
    let mut at = 0;
    while let Some(found) = lying[at..].windows(4).position(|four| four == (1u32 << 20).to_le_bytes()) {
        at += found + 4;
        lying[at - 4..at].copy_from_slice(&100u32.to_le_bytes());
    }
    let mut overlapping = Vec::new();
    if let Some(second) = good.windows(4).enumerate().filter(|(_, four)| four == b"PK\x01\x02").nth(1) {
        overlapping = patched(second.0 + 42, &[0, 0, 0, 0]);
    }
    let ratio = archive(&tensor, &[("0", &vec![0; 30 << 20])], CompressionMethod::Deflated);
    let stored = CompressionMethod::Stored;
    let two = zipped(&[("a/data.pkl".into(), &tensor), ("b/data.pkl".into(), &tensor)], stored);
    let names: Vec<_> = (0..10_500).map(|index| (format!("a/{index}"), &b""[..])).collect();
    vec![
        Hostile { name: "entries.pth", bytes: zipped(&names, stored), says: "without `data.pkl`" },
        Hostile { name: "cut_off.pth", bytes: good[..good.len() - 30].to_vec(), says: "cut off" },
        Hostile { name: "cut_short.pth", bytes: good[..60].to_vec(), says: "cut off" },
        Hostile { name: "only_a_start.pth", bytes: b"PK\x03\x04".to_vec(), says: "cut off" },
        Hostile { name: "empty_archive.pth", bytes: good[end..].to_vec(), says: "empty archive" },
        Hostile { name: "many_entries.pth", bytes: patched(end + 10, &[0xff, 0xff]), says: "damaged" },
        Hostile { name: "zip64_entries.pth", bytes: zip64, says: "4294967296 entries" },
        Hostile {
            name: "directory_elsewhere.pth",
            bytes: patched(end + 16, &[0xf0, 0xff, 0xff, 0xff]),
            says: "damaged",
        },
        Hostile { name: "overlapping_entries.pth", bytes: overlapping, says: "archive" },
        Hostile { name: "lying_length.pth", bytes: lying, says: "larger than its declared" },
        Hostile { name: "ratio.pth", bytes: ratio, says: "over 100 times" },
        Hostile { name: "storage_missing.pth", bytes: archive(&tensor, &[], stored), says: "data/0` is missing" },
        Hostile {
            name: "storage_short.pth",
            bytes: archive(&tensor, &[("0", &[0; 60])], stored),
            says: "holds 60 bytes",
        },
        Hostile {
            name: "no_pickle.zip",
            bytes: zipped(&[("a.txt".into(), b"hello")], stored),
            says: "without `data.pkl`",
        },
        Hostile { name: "two_pickles.pth", bytes: two, says: "2 entries `data.pkl`" },
        Hostile {
            name: "pickle_cut.pth",
            bytes: archive(&tensor[..tensor.len() / 2], &[("0", &[0; 64])], stored),
            says: "ends in the middle",
        },
        Hostile {
            name: "pickle_noise.pth",
            bytes: archive(b"\x80\x02\xff\xfe", &[("0", &[0; 64])], stored),
            says: "no pickle opcode",
        },
    ]
}

/// Safetensors files that lie.
fn headers() -> Vec<Hostile> {
    let entry = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let table = |entries: &[String]| format!("{{{}}}", entries.join(","));
    let mut claim = 98_000_000u64.to_le_bytes().to_vec();
    claim.extend_from_slice(b"{\"w\":");
    let mut endless = u64::MAX.to_le_bytes().to_vec();
    endless.extend_from_slice(b"{}");
    let long = safetensors(&format!("{{{}}}", " ".repeat(17 << 20)), &[]);
    let twice = table(&[entry("w", "[1]", 0, 4), entry("w", "[1]", 0, 4)]);
    let overflow = table(&[entry("w", "[9223372036854775807,9]", 0, 4)]);
    let overlap = table(&[entry("v", "[4]", 0, 16), entry("w", "[4]", 0, 16)]);
    let deep = format!("{{\"w\":{}", "[".repeat(500_000));
    vec![
        Hostile { name: "header_98_mb.safetensors", bytes: claim, says: "claims 98000000 bytes" },
        Hostile { name: "header_endless.safetensors", bytes: endless, says: "claims 18446744073709551615" },
        Hostile { name: "header_17_mib.safetensors", bytes: long, says: "more than the 16777216" },
        Hostile { name: "duplicate.safetensors", bytes: safetensors(&twice, &[0; 4]), says: "twice" },
        Hostile { name: "overflow.safetensors", bytes: safetensors(&overflow, &[0; 4]), says: "header" },
        Hostile { name: "overlap.safetensors", bytes: safetensors(&overlap, &[0; 16]), says: "header" },
        Hostile {
            name: "axes.safetensors",
            bytes: safetensors(&table(&[entry("w", &format!("[1{}]", ",1".repeat(90_000)), 0, 4)]), &[0; 4]),
            says: "90001 axes",
        },
        Hostile {
            name: "dtype.safetensors",
            bytes: safetensors(&table(&[entry("w", "[1]", 0, 4)]).replace("F32", &"F".repeat(100_000)), &[0; 4]),
            says: "header",
        },
        Hostile {
            name: "short.safetensors",
            bytes: safetensors(&table(&[entry("w", "[4]", 0, 16)]), &[0; 8]),
            says: "declares 16",
        },
        Hostile { name: "deep.safetensors", bytes: safetensors(&deep, &[]), says: "header" },
        Hostile { name: "no_json.safetensors", bytes: safetensors("{no json}", &[]), says: "header" },
        Hostile { name: "no_tensors.safetensors", bytes: safetensors("{}", &[]), says: "no tensors" },
    ]
}

/// Files that are something else, and checkpoints that are not what they should be.
fn mixed_up() -> Vec<Hostile> {
    let with = |change: &dyn Fn(&mut Vec<(String, Vec<i64>)>)| {
        let mut tensors = llamagen(2);
        change(&mut tensors);
        saved(&tensors, "FloatStorage", &ONE)
    };
    let mut not_a_number = with(&|_| {});
    // The last number of the first storage.
    if let Some(at) = not_a_number.windows(4).position(|four| four == ONE) {
        not_a_number[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    }
    // Without a checksum, as `compute_crc32=False` writes it: the values themselves must be seen.
    let half = saved(&llamagen(1), "BFloat16Storage", &[0x80, 0xff]);
    let infinite = saved(&llamagen(1), "HalfStorage", &[0x00, 0x7c]);
    let page = b"<!DOCTYPE html><html><body>404</body></html>".to_vec();
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 64]].concat();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".to_vec();
    vec![
        Hostile { name: "empty.pth", bytes: Vec::new(), says: "empty" },
        Hostile { name: "text.pt", bytes: b"These are my weights.\n".to_vec(), says: "no checkpoint" },
        Hostile { name: "page.pth", bytes: page, says: "web page" },
        Hostile { name: "picture.safetensors", bytes: png, says: "picture" },
        Hostile { name: "pointer.bin", bytes: pointer, says: "Git LFS" },
        Hostile { name: "packed.pth", bytes: b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec(), says: "unpack" },
        Hostile { name: "numbers.bin", bytes: (0..=255u8).cycle().take(4096).collect(), says: "no checkpoint" },
        Hostile { name: "flipped.pth", bytes: not_a_number, says: "checksum" },
        Hostile { name: "not_numbers.pth", bytes: half, says: "not numbers or infinite" },
        Hostile { name: "infinite.pth", bytes: infinite, says: "not numbers or infinite" },
        Hostile {
            name: "missing.pth",
            bytes: with(&|tensors| tensors.retain(|(name, _)| !name.contains("wo") && name != "norm.weight")),
            says: "missing layers.0.attention.wo.weight, layers.1.attention.wo.weight, norm.weight",
        },
        Hostile {
            name: "unexpected.pth",
            bytes: with(&|tensors| tensors.extend((0..9).map(|i| (format!("adapter.{i}.lora"), vec![2])))),
            says: "unexpected adapter.0.lora, adapter.1.lora, adapter.2.lora and 6 more",
        },
        Hostile {
            name: "shape.pth",
            bytes: with(&|tensors| tensors[3].1 = vec![17, 16]),
            says: "of another shape output.weight ([17, 16] instead of [16, 16])",
        },
        Hostile {
            name: "integers.pth",
            bytes: saved(&llamagen(1), "IntStorage", &1i32.to_le_bytes()),
            says: "of another type",
        },
        Hostile {
            name: "another_family.pth",
            bytes: saved(&[("conv1.weight".into(), vec![8, 3, 3, 3])], "FloatStorage", &ONE),
            says: "no family",
        },
    ]
}

/// All of them.
pub(crate) fn hostile() -> Vec<Hostile> {
    [code(), bombs(), archives(), headers(), mixed_up()].into_iter().flatten().collect()
}
