//! The two parameter sets that are nearest to ours.

use tfhe::core_crypto::prelude::*;
use tfhe::shortint::parameters::ModulusSwitchType;
use tfhe::shortint::parameters::current_params::classic::tuniform::p_fail_2_minus_128::ks_pbs::V1_8_PARAM_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128;
use tfhe::shortint::parameters::current_params::multi_bit::tuniform::p_fail_2_minus_128::ks_pbs_gpu::V1_8_PARAM_GPU_MULTI_BIT_GROUP_4_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128;

#[derive(Clone)]
pub(crate) struct Params {
    pub(crate) name: &'static str,
    pub(crate) lwe_dimension: LweDimension,
    pub(crate) glwe_dimension: GlweDimension,
    pub(crate) polynomial_size: PolynomialSize,
    pub(crate) lwe_noise: DynamicDistribution<u64>,
    pub(crate) glwe_noise: DynamicDistribution<u64>,
    pub(crate) pbs_base_log: DecompositionBaseLog,
    pub(crate) pbs_level: DecompositionLevelCount,
    pub(crate) ks_base_log: DecompositionBaseLog,
    pub(crate) ks_level: DecompositionLevelCount,
    pub(crate) modulus: CiphertextModulus<u64>,
    pub(crate) log2_p_fail: f64,
    pub(crate) plain_modulus: u64,
    pub(crate) grouping: Option<LweBskGroupingFactor>,
    pub(crate) centered: bool,
}

pub(crate) fn classic() -> Params {
    let p = V1_8_PARAM_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128;
    Params {
        name: "V1_8_PARAM_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128",
        lwe_dimension: p.lwe_dimension,
        glwe_dimension: p.glwe_dimension,
        polynomial_size: p.polynomial_size,
        lwe_noise: p.lwe_noise_distribution,
        glwe_noise: p.glwe_noise_distribution,
        pbs_base_log: p.pbs_base_log,
        pbs_level: p.pbs_level,
        ks_base_log: p.ks_base_log,
        ks_level: p.ks_level,
        modulus: p.ciphertext_modulus,
        log2_p_fail: p.log2_p_fail,
        plain_modulus: p.message_modulus.0 * p.carry_modulus.0,
        grouping: None,
        centered: matches!(
            p.modulus_switch_noise_reduction_params,
            ModulusSwitchType::CenteredMeanNoiseReduction
        ),
    }
}

pub(crate) fn multi_bit() -> Params {
    let p = V1_8_PARAM_GPU_MULTI_BIT_GROUP_4_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128;
    Params {
        name: "V1_8_PARAM_GPU_MULTI_BIT_GROUP_4_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128",
        lwe_dimension: p.lwe_dimension,
        glwe_dimension: p.glwe_dimension,
        polynomial_size: p.polynomial_size,
        lwe_noise: p.lwe_noise_distribution,
        glwe_noise: p.glwe_noise_distribution,
        pbs_base_log: p.pbs_base_log,
        pbs_level: p.pbs_level,
        ks_base_log: p.ks_base_log,
        ks_level: p.ks_level,
        modulus: p.ciphertext_modulus,
        log2_p_fail: p.log2_p_fail,
        plain_modulus: p.message_modulus.0 * p.carry_modulus.0,
        grouping: Some(p.grouping_factor),
        centered: false,
    }
}
