//! Which device computes, and why: a GPU through wgpu, or the processor through burn's Flex backend.

use std::fmt;
use std::str::FromStr;

use burn::prelude::*;

use crate::{Error, Result};

/// What the person asked for: `auto`, `cpu` or `wgpu[:N]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU where there is one, otherwise the processor. Software adapters do not count: they are slower than the
    /// processor itself.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The adapter with this number in [`adapters`]; without a number the first GPU, or else the first adapter.
    Wgpu(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "wgpu" => Ok(Self::Wgpu(None)),
            Some(("wgpu", number)) if number.parse::<usize>().is_ok() => Ok(Self::Wgpu(number.parse().ok())),
            _ => {
                let cause = format!("“{text}” is not a device");
                Err(Error::control("device", cause, "Use auto, cpu, wgpu or wgpu:N with N from `andamento doctor`"))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(number)) => write!(f, "wgpu:{number}"),
        }
    }
}

/// An adapter that wgpu found.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The adapter's own name.
    pub name: String,
    /// The graphics interface, such as Vulkan.
    pub backend: String,
    /// Whether it computes on the processor.
    pub software: bool,
    kind: wgpu::DeviceType,
    /// Its number among the adapters of its kind.
    index: usize,
    /// Its address on the PCI bus; empty where that is not known.
    address: String,
}

impl Adapter {
    /// Whose memory it computes in. wgpu tells how much there is of no card, only of what kind it is.
    pub fn place(&self) -> Place {
        match self.kind {
            wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::Cpu => Place::Computer,
            wgpu::DeviceType::DiscreteGpu | wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => {
                Place::Card(self.address.clone())
            }
        }
    }
}

/// Every adapter, in the order in which `wgpu:N` counts them: those of the first graphics interface that has a GPU, or
/// else of the first that has any. burn asks in the same sequence, so both count the same adapters.
pub fn adapters() -> Vec<Adapter> {
    let mut software_only = Vec::new();
    for interface in [wgpu::Backends::METAL, wgpu::Backends::VULKAN, wgpu::Backends::DX12] {
        let found = adapters_of(interface);
        if found.iter().any(|adapter| !adapter.software) {
            return found;
        }
        if software_only.is_empty() {
            software_only = found;
        }
    }
    software_only
}

fn adapters_of(interface: wgpu::Backends) -> Vec<Adapter> {
    let descriptor =
        wgpu::InstanceDescriptor { backends: interface, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    let found = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(interface));
    let mut adapters: Vec<Adapter> = Vec::new();
    for info in found.iter().map(wgpu::Adapter::get_info) {
        let index = adapters.iter().filter(|other| other.kind == info.device_type).count();
        adapters.push(Adapter {
            name: info.name,
            backend: interface_name(info.backend).into(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            kind: info.device_type,
            index,
            address: info.device_pci_bus_id,
        });
    }
    adapters
}

fn interface_name(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "Direct3D 12",
        wgpu::Backend::Gl => "OpenGL",
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        wgpu::Backend::Noop => "none",
    }
}

/// Where a device keeps what it computes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the computer's memory, as the processor does and graphics that are part of it.
    Computer,
    /// In the memory of a card, which is at this address of the PCI bus; empty where that is not known.
    Card(String),
}

/// The device that was taken.
#[derive(Debug, Clone)]
pub struct ChosenDevice {
    /// The device for tensors.
    pub device: Device,
    /// What a person knows it by.
    pub name: String,
    /// Why it was taken.
    pub reason: String,
    /// Whether it is a GPU that runs our own kernels.
    pub gpu: bool,
    /// Whose memory it computes in.
    pub place: Place,
}

/// Takes the device that was asked for.
///
/// # Errors
/// If the adapter that was asked for does not exist.
pub fn choose(choice: DeviceChoice) -> Result<ChosenDevice> {
    let processor = |reason: &str| ChosenDevice {
        device: Device::flex(),
        name: "Processor".into(),
        reason: reason.into(),
        gpu: false,
        place: Place::Computer,
    };
    if choice == DeviceChoice::Cpu {
        return Ok(processor("asked for"));
    }
    let adapters = adapters();
    let first_gpu = adapters.iter().position(|adapter| !adapter.software);
    match (choice, first_gpu) {
        (DeviceChoice::Auto, Some(number)) => Ok(on_adapter(&adapters[number], "the first GPU")),
        (DeviceChoice::Auto, None) if adapters.is_empty() => Ok(processor("no graphics adapter was found")),
        (DeviceChoice::Auto, None) => Ok(processor("the only graphics adapter is software, which is slower")),
        (DeviceChoice::Wgpu(None), Some(number)) => Ok(on_adapter(&adapters[number], "asked for")),
        (DeviceChoice::Wgpu(number), _) => match adapters.get(number.unwrap_or(0)) {
            Some(adapter) => Ok(on_adapter(adapter, "asked for")),
            None => Err(Error::device(
                choice.to_string(),
                format!("there is no such adapter; {} found", adapters.len()),
                "See `andamento doctor`, or use --device cpu",
            )),
        },
        (DeviceChoice::Cpu, _) => Ok(processor("asked for")),
    }
}

fn on_adapter(adapter: &Adapter, reason: &str) -> ChosenDevice {
    let kind = match adapter.kind {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(adapter.index),
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(adapter.index),
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(adapter.index),
        wgpu::DeviceType::Cpu => DeviceKind::Cpu,
        wgpu::DeviceType::Other => DeviceKind::DefaultDevice,
    };
    ChosenDevice {
        device: Device::wgpu(kind),
        name: format!("{} · {}", adapter.backend, adapter.name),
        reason: reason.into(),
        gpu: true,
        place: adapter.place(),
    }
}
