//! Kernels made ready for a device, each bound to the buffers that it works on.

use wgpu::{BindGroup, Buffer, ComputePass, ComputePipeline, Device};

use super::receipt::Receipt;
use crate::wgsl::{self, RECEIPT_BINDING, Source};

pub struct Kernel {
    pipeline: ComputePipeline,
    name: &'static str,
}

impl Kernel {
    fn new(device: &Device, source: Source) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(source.name),
            source: wgpu::ShaderSource::Wgsl(source.text.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(source.name),
            // Taken from the kernel.
            layout: None,
            module: &module,
            entry_point: Some(source.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                // No kernel reads what it has not written.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Self {
            pipeline,
            name: source.name,
        }
    }

    /// These buffers in the order of the kernel's bindings, and the receipt's.
    pub fn bind(&self, device: &Device, receipt: &Receipt, buffers: &[&Buffer]) -> BindGroup {
        let receipt = (RECEIPT_BINDING, &receipt.buffer);
        let buffers = (0..).zip(buffers.iter().copied()).chain([receipt]);
        let entries: Vec<wgpu::BindGroupEntry<'_>> = buffers
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.name),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    pub fn dispatch(
        &self,
        receipt: &Receipt,
        pass: &mut ComputePass<'_>,
        bound: &BindGroup,
        immediates: &[u32],
        groups: [usize; 3],
    ) {
        receipt.expect(groups);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, bound, &[]);
        if !immediates.is_empty() {
            pass.set_immediates(0, bytemuck::cast_slice(immediates));
        }
        let [x, y, z] = groups.map(|n| n as u32);
        pass.dispatch_workgroups(x, y, z);
    }
}

pub struct Pipelines {
    pub linear: Kernel,
    pub decompose: Kernel,
    pub keyswitch: Kernel,
    pub switch_modulus: Kernel,
    pub transform_key: Kernel,
    pub start: Kernel,
    pub rotate: Kernel,
    pub extract: Kernel,
}

impl Pipelines {
    pub fn new(device: &Device) -> Self {
        let kernel = |source| Kernel::new(device, source);
        Self {
            linear: kernel(wgsl::LINEAR),
            decompose: kernel(wgsl::DECOMPOSE),
            keyswitch: kernel(wgsl::KEYSWITCH),
            switch_modulus: kernel(wgsl::SWITCH_MODULUS),
            transform_key: kernel(wgsl::TRANSFORM_KEY),
            start: kernel(wgsl::START),
            rotate: kernel(wgsl::ROTATE),
            extract: kernel(wgsl::EXTRACT),
        }
    }
}
