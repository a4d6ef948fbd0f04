use super::*;
use crate::testing::{Fixture, Random, fixture};
use edge_types::Digest;
use fhe::program::{
    Encode, FORMAT, Input, Lookup, Precision, ProgramFile, ResultSpec, Round, ScoreMeaning,
};
use fhe::{Client, OsEntropy, PublicProgram};

fn below(random: &mut Random, limit: u64) -> u64 {
    random.next() % limit
}

/// Rounds of random sums and tables; `lookups` = 0 gives a linear program.
fn random_program(random: &mut Random, lookups: usize) -> Program {
    let inputs = 3 + below(random, 8) as usize;
    let encode = match lookups {
        0 => Encode::Scaled {
            offset: 0.0,
            step: 1.0,
            min: -100,
            max: 100,
        },
        _ => Encode::Above(0.0),
    };
    let mut rounds = Vec::new();
    let mut width = inputs;
    for round in 0..lookups {
        let sums: Vec<Sum> = (0..2 + below(random, 4))
            .map(|_| bits_sum(random, width))
            .collect();
        let last = round + 1 == lookups;
        let (entries, step_bits) = if last { (4000, 14) } else { (2, 5) };
        let tables = (0..3)
            .map(|_| (0..16).map(|_| below(random, entries) as i64).collect())
            .collect();
        let uses = sums.iter().map(|_| below(random, 3) as u32).collect();
        let reads = random_reads(random, &sums);
        let lookup = Lookup {
            bits: 4,
            fraction_bits: 0,
            precision: Precision::Exact,
            step_bits,
            tables,
            uses,
            reads,
        };
        width = lookup.outputs();
        rounds.push(Round {
            sums,
            lookup: Some(lookup),
        });
    }
    if lookups == 0 {
        let terms = (0..inputs as u32)
            .map(|i| (i, below(random, 200) as i64 - 100))
            .collect();
        let bias = below(random, 1000) as i64 - 500;
        rounds.push(Round {
            sums: vec![Sum { terms, bias }],
            lookup: None,
        });
        width = 1;
    }
    let score = |i| ScoreMeaning {
        name: format!("s{i}"),
        results: vec![i as u32],
        scale: 1.0,
        offset: 0.0,
    };
    let file = ProgramFile {
        format: FORMAT.into(),
        name: "random".into(),
        version: 1,
        description: String::new(),
        params: if lookups == 0 {
            ParamSet::Linear
        } else {
            ParamSet::Bootstrap
        },
        columns: (0..inputs).map(|i| format!("c{i}")).collect(),
        inputs: (0..inputs)
            .map(|column| Input {
                column,
                encode: encode.clone(),
                missing: None,
            })
            .collect(),
        text: None,
        about: Default::default(),
        input_bits: if lookups == 0 { 44 } else { 18 },
        input_step_bits: if lookups == 0 { 20 } else { 5 },
        rounds,
        result: ResultSpec {
            bits: 30,
            precision: if lookups == 0 {
                Precision::Exact
            } else {
                Precision::Rounded
            },
            wraps: false,
            scores: (0..width).map(score).collect(),
            link: Default::default(),
            decide: None,
        },
    };
    Program::new(file).unwrap()
}

/// None, or some sums read twice, the second time as far up as their table allows.
fn random_reads(random: &mut Random, sums: &[Sum]) -> Vec<(u32, u32)> {
    if below(random, 2) == 0 {
        return Vec::new();
    }
    let mut reads = Vec::new();
    for (index, sum) in sums.iter().enumerate() {
        reads.push((index as u32, 0));
        let high: i64 = sum.terms.iter().map(|&(_, weight)| weight).sum();
        let shift = below(random, 16 - high as u64);
        if shift > 0 {
            reads.push((index as u32, shift as u32));
        }
    }
    reads
}

/// At most 15 from values that are 0 or 1.
fn bits_sum(random: &mut Random, width: usize) -> Sum {
    let mut room = 15;
    let mut terms = Vec::new();
    for input in 0..width as u32 {
        // Weights of at most 2: more, over bootstrapped values, would be too noisy.
        let weight = below(random, 3).min(room);
        room -= weight;
        if weight > 0 {
            terms.push((input, weight as i64));
        }
    }
    if terms.is_empty() {
        terms.push((0, 1));
    }
    Sum { terms, bias: 0 }
}

struct Asked {
    client: Client,
    public: PublicProgram,
    pending: fhe::client::Pending,
    rows: Vec<Vec<i64>>,
}

fn ask(fixture: &Fixture, key: usize, program: &Program, random: &mut Random) -> Asked {
    let public = PublicProgram::from(program);
    let client = match key {
        2 => Client::new(fixture.linear.0.clone(), fixture.linear.1.id()),
        _ => Client::new(fixture.clients[key].0.clone(), fixture.evaluation[key].id()),
    };
    let value = |random: &mut Random| match program.is_linear() {
        true => below(random, 201) as i64 - 100,
        false => below(random, 2) as i64,
    };
    let count = 1 + below(random, 3);
    let rows: Vec<Vec<i64>> = (0..count)
        .map(|_| (0..program.input_count()).map(|_| value(random)).collect())
        .collect();
    let pending = client.encrypt(&public, &rows, &mut OsEntropy).unwrap();
    Asked {
        client,
        public,
        pending,
        rows,
    }
}

fn key_of(fixture: &Fixture, key: usize) -> Arc<crate::cpu::CpuKey> {
    if key == 2 {
        fixture.linear_key.clone()
    } else {
        fixture.keys[key].clone()
    }
}

fn reply(program: &Program, asked: &Asked, words: &[u64]) -> Vec<u8> {
    let request = Request::from_bytes(&asked.pending.bytes).unwrap();
    let digest = Digest::of(&asked.pending.bytes);
    let reply = Reply::to(&request, digest, program, words);
    reply.unwrap().to_bytes()
}

/// Random programs of none to three lookups, under three keys, in one batch: every decrypted score is the clear one.
#[test]
fn encrypted_results_are_the_clear_ones_with_several_keys_in_one_batch() {
    let fixture = fixture();
    let engine = Engine::new(crate::CpuBackend::new(Some(2)).unwrap());
    let mut random = Random(42);
    let plan = [
        (0, 1),
        (1, 2),
        (2, 0),
        (1, 0),
        (0, 3),
        (1, 1),
        (2, 0),
        (0, 0),
    ];
    let (mut asked, mut jobs) = (Vec::new(), Vec::new());
    for (key, lookups) in plan {
        let program = random_program(&mut random, lookups);
        let one = ask(fixture, key, &program, &mut random);
        jobs.push(Job::whole(
            Arc::new(Compiled::new(program).unwrap()),
            key_of(fixture, key),
            Arc::new(Request::from_bytes(&one.pending.bytes).unwrap()),
        ));
        asked.push(one);
    }
    let (results, timings) = engine.run(&jobs, [9; 32]).unwrap();
    assert!(timings.bootstraps > 0);
    for ((job, asked), words) in jobs.iter().zip(&asked).zip(&results) {
        check_scores(job.program.program(), asked, words);
    }
}

/// Every decrypted score is the clear one, but for noise.
fn check_scores(program: &Program, asked: &Asked, words: &[u64]) {
    let bytes = reply(program, asked, words);
    let scores = asked
        .client
        .decrypt(&asked.public, &asked.pending, &bytes)
        .unwrap();
    for (row, scores) in asked.rows.iter().zip(&scores) {
        let clear = program.evaluate_clear(row).unwrap();
        for ((score, clear), error) in scores.iter().zip(&clear).zip(&program.noise().score_error) {
            let off = (score.integer - *clear as f64).abs();
            assert!(
                off <= *error,
                "{score:?} is not {clear}, and at most {error} off"
            );
        }
    }
}

/// Parts of several requests, in batches of their own: one after another they are the results of the whole.
#[test]
fn a_request_that_is_evaluated_in_parts_has_the_same_scores() {
    let fixture = fixture();
    let engine = Engine::new(crate::CpuBackend::new(Some(2)).unwrap());
    let mut random = Random(43);
    let mut asked = |key, lookups| {
        loop {
            let program = random_program(&mut random, lookups);
            let one = ask(fixture, key, &program, &mut random);
            if one.rows.len() == 3 {
                let request = Arc::new(Request::from_bytes(&one.pending.bytes).unwrap());
                let compiled = Arc::new(Compiled::new(program).unwrap());
                return (one, Job::whole(compiled, key_of(fixture, key), request));
            }
        }
    };
    let all = [asked(0, 2), asked(2, 0), asked(1, 1)];
    let mut results = vec![Vec::new(); all.len()];
    for (number, rows) in [0..1, 1..3].into_iter().enumerate() {
        let part = |(_, job): &(Asked, Job<crate::cpu::CpuKey>)| Job {
            program: job.program.clone(),
            key: job.key.clone(),
            request: job.request.clone(),
            rows: rows.clone(),
        };
        let jobs: Vec<_> = all.iter().map(part).collect();
        let (parts, _) = engine.run(&jobs, [number as u8; 32]).unwrap();
        for (whole, part) in results.iter_mut().zip(parts) {
            whole.extend(part);
        }
    }
    for ((asked, job), words) in all.iter().zip(&results) {
        check_scores(job.program.program(), asked, words);
    }
    let (_, job) = &all[0];
    for rows in [3..3, 2..4] {
        let outside = Job {
            program: job.program.clone(),
            key: job.key.clone(),
            request: job.request.clone(),
            rows,
        };
        let refused = engine.run(&[outside], [0; 32]);
        assert!(matches!(refused, Err(KernelError::Shape(_))));
    }
}

#[test]
fn a_reply_to_something_else_is_refused() {
    let fixture = fixture();
    let engine = Engine::new(crate::CpuBackend::new(Some(1)).unwrap());
    let mut random = Random(5);
    let program = random_program(&mut random, 0);
    let first = ask(fixture, 2, &program, &mut random);
    let second = ask(fixture, 2, &program, &mut random);
    let job = Job::whole(
        Arc::new(Compiled::new(program.clone()).unwrap()),
        key_of(fixture, 2),
        Arc::new(Request::from_bytes(&first.pending.bytes).unwrap()),
    );
    let (results, _) = engine.run(&[job], [1; 32]).unwrap();
    let bytes = reply(&program, &first, &results[0]);
    first
        .client
        .decrypt(&first.public, &first.pending, &bytes)
        .unwrap();
    let error = second
        .client
        .decrypt(&second.public, &second.pending, &bytes)
        .unwrap_err();
    assert!(error.to_string().contains("another request"), "{error}");
    let mut other = first.public.clone();
    other.version += 1;
    assert!(
        first
            .client
            .decrypt(&other, &first.pending, &bytes)
            .is_err()
    );
    let stranger = Client::new(fixture.linear.0.clone(), fixture.evaluation[0].id());
    assert!(
        stranger
            .decrypt(&first.public, &first.pending, &bytes)
            .is_err()
    );
}

#[test]
fn too_much_at_once_is_refused_before_any_work() {
    let fixture = fixture();
    let engine = Engine::new(crate::CpuBackend::new(Some(1)).unwrap());
    let mut random = Random(6);
    let program = random_program(&mut random, 0);
    let public = PublicProgram::from(&program);
    let client = Client::new(fixture.linear.0.clone(), fixture.linear.1.id());
    let rows = vec![vec![1; program.input_count()]; fhe::wire::MAX_ROWS];
    let pending = client.encrypt(&public, &rows, &mut OsEntropy).unwrap();
    let request = Arc::new(Request::from_bytes(&pending.bytes).unwrap());
    let compiled = Arc::new(Compiled::new(program).unwrap());
    let job = || Job::whole(compiled.clone(), key_of(fixture, 2), request.clone());
    let jobs: Vec<_> = (0..=MAX_CIPHERTEXTS / fhe::wire::MAX_ROWS)
        .map(|_| job())
        .collect();
    assert!(matches!(
        engine.run(&jobs, [0; 32]),
        Err(KernelError::TooLarge { .. })
    ));
}
