use super::*;

use std::collections::HashSet;

use super::attempts::Beside;

const LIMITS: Limits = Limits {
    jobs: 6,
    bytes: 1000,
    tenant_jobs: 4,
    tenant_bytes: 600,
};

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

fn id(number: u32) -> JobId {
    JobId::parse(&format!("{number:032x}")).unwrap()
}

fn note(created: u64, urgency: u8) -> Note {
    Note {
        program: "trees".to_owned(),
        key: Digest([1; 32]),
        created,
        expires: created + 100,
        state: State::Waiting,
        priority: 5,
        urgency,
        reserved: 100,
        attempts: 0,
    }
}

fn job(bytes: u64) -> Job {
    Job::new(note(0, 3), Phase::Arriving, bytes)
}

fn open(dir: &std::path::Path) -> Jobs {
    Jobs::open(JobOptions {
        dir: dir.to_owned(),
        ttl: Duration::from_secs(100),
        limits: LIMITS,
        clock: Arc::new(|| 50),
    })
    .unwrap()
}

#[test]
fn ids_are_digits_and_no_way_out_of_the_folder() {
    let new = JobId::new().unwrap();
    assert_eq!(JobId::parse(new.as_str()), Some(new));
    for text in [
        "",
        "../../../../../../../../etc/passwd",
        "0",
        &"A".repeat(32),
        &"/".repeat(32),
    ] {
        assert_eq!(JobId::parse(text), None, "{text}");
    }
}

#[test]
fn count_and_bytes_are_bounded_for_each_tenant_and_in_all() {
    let mut index = Index::new(LIMITS);
    let (a, b) = (tenant("a"), tenant("b"));
    for number in 0..4 {
        index.add(&a, &id(number), job(100)).unwrap();
    }
    assert!(matches!(
        index.add(&a, &id(9), job(1)),
        Err(JobError::TooMany { limit: 4 })
    ));
    assert!(matches!(
        index.add(&b, &id(9), job(601)),
        Err(JobError::TooMuch { limit: 600 })
    ));
    index.add(&b, &id(4), job(600)).unwrap();
    let c = tenant("c");
    assert!(matches!(index.add(&c, &id(9), job(1)), Err(JobError::Full)));
    // What has ended takes what it takes, and what is deleted nothing.
    index.end(&b, &id(4), note(0, 3), 10);
    index.add(&c, &id(9), job(1)).unwrap();
    assert!(matches!(
        index.add(&c, &id(10), job(1)),
        Err(JobError::Full)
    ));
    for number in 0..4 {
        index.remove(&a, &id(number));
    }
    index.remove(&b, &id(4));
    index.remove(&c, &id(9));
    assert_eq!((index.len(), index.bytes()), (0, 0));
}

#[test]
fn tenants_take_turns_and_one_tenants_jobs_go_by_urgency() {
    let mut index = Index::new(Limits {
        jobs: 100,
        tenant_jobs: 100,
        ..LIMITS
    });
    for (number, (of, urgency)) in [("a", 3), ("a", 3), ("a", 0), ("b", 7), ("c", 3)]
        .into_iter()
        .enumerate()
    {
        let job = Job::new(note(0, urgency), Phase::Queued, 1);
        index.restore(tenant(of), id(number as u32), job);
    }
    index.remove(&tenant("c"), &id(4));
    let order: Vec<JobId> = std::iter::from_fn(|| index.next())
        .map(|(_, id)| id)
        .collect();
    assert_eq!(order, [id(2), id(3), id(0), id(1)]);
}

#[test]
fn only_what_has_expired_is_swept_and_never_what_runs() {
    let mut index = Index::new(LIMITS);
    let a = tenant("a");
    for (number, created) in [0, 50, 0].into_iter().enumerate() {
        let job = Job::new(note(created, 3), Phase::Queued, 1);
        index.restore(a.clone(), id(number as u32), job);
    }
    index.start(&a, &id(2)).unwrap();
    assert_eq!(index.expired(99), []);
    assert_eq!(index.expired(100), [(a.clone(), id(0))]);
    assert!(index.visible(&a, &id(0), 100).is_none());
    assert!(index.visible(&a, &id(2), 100).is_some());
    assert!(index.visible(&tenant("b"), &id(2), 100).is_none());
}

#[test]
fn jobs_are_there_again_after_a_start_and_what_a_crash_left_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (a, b) = (tenant("a"), tenant("b"));
    layout
        .write(&a, &id(1), &note(10, 3), b"a request")
        .unwrap();
    let done = Note {
        state: State::Done {
            finished: 20,
            server_timing: "queue;dur=1".to_owned(),
        },
        ..note(5, 3)
    };
    layout.write(&b, &id(2), &done, b"a reply").unwrap();
    let expired = Note {
        expires: 50,
        ..note(0, 3)
    };
    layout.write(&b, &id(3), &expired, b"old").unwrap();
    // A crash in the middle of writing, and files of others.
    std::fs::write(
        dir.path().join("a").join(format!("{}.tmp", id(1).as_str())),
        b"VG",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("a").join(format!("{}.job", id(7).as_str())),
        b"VGJB\x01\0\xff\xff\xff\xff",
    )
    .unwrap();
    std::fs::write(dir.path().join("a/other.txt"), b"x").unwrap();

    let jobs = open(dir.path());
    assert!(
        !dir.path()
            .join("a")
            .join(format!("{}.tmp", id(1).as_str()))
            .exists()
    );
    assert_eq!(jobs.view(&a, &id(1)).unwrap().status, Status::Queued);
    assert_eq!(jobs.view(&b, &id(2)).unwrap().status, Status::Done);
    assert_eq!(&jobs.reply(&b, &id(2)).unwrap()[..], b"a reply");
    for (who, number) in [(&a, 2), (&b, 1), (&b, 3), (&a, 7)] {
        assert!(
            matches!(jobs.view(who, &id(number)), Err(JobError::Unknown)),
            "{number}"
        );
    }
    // The next turn is that of the one that had not ended; the one that has expired is swept before.
    let turn = jobs.next().unwrap();
    assert_eq!((&turn.tenant, &turn.id), (&a, &id(1)));
    assert!(!layout.job(&b, &id(3)).exists());
    assert_eq!(jobs.view(&a, &id(1)).unwrap().status, Status::Running);
    jobs.finish(turn, Err(Problem::unknown_key()), String::new());
    let failed = open(dir.path()).view(&a, &id(1)).unwrap();
    assert_eq!((failed.status, failed.note.expires), (Status::Failed, 150));
    let State::Failed { problem, .. } = &failed.note.state else {
        panic!("{failed:?}")
    };
    assert_eq!(problem["type"], "urn:veilgate:fhe:unknown-key");
}

#[test]
fn a_job_that_is_deleted_while_it_runs_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let a = tenant("a");
    Layout::new(dir.path())
        .write(&a, &id(1), &note(10, 3), b"a request")
        .unwrap();
    let jobs = open(dir.path());
    let turn = jobs.next().unwrap();
    jobs.remove(&a, &id(1)).unwrap();
    jobs.finish(turn, Err(Problem::internal()), String::new());
    assert!(matches!(jobs.remove(&a, &id(1)), Err(JobError::Unknown)));
    let left: HashSet<_> = std::fs::read_dir(dir.path().join("a"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(left, HashSet::new());
    jobs.stop();
    assert!(jobs.next().is_none());
}

/// Another gateway, after one that was killed or (`ends_well`) stopped as it should.
fn begin_once(dir: &std::path::Path, ends_well: bool) -> Turn {
    let jobs = open(dir);
    let turn = jobs.next().unwrap();
    if !turn.has_no_attempt_left() {
        let (_, request) = jobs.layout.read(&turn.tenant, &turn.id).unwrap();
        jobs.count_attempt(&turn, &request).unwrap();
    }
    if ends_well {
        jobs.take_attempts_back();
    }
    turn
}

#[test]
fn what_ends_the_gateway_each_time_is_begun_three_times_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, a) = (Layout::new(dir.path()), tenant("a"));
    layout
        .write(&a, &id(1), &note(10, 3), b"a request")
        .unwrap();
    for attempts in 0..3 {
        // A gateway that stops as it should says so, however often it does.
        begin_once(dir.path(), true);
        let turn = begin_once(dir.path(), false);
        assert_eq!(turn.note.attempts, attempts);
        assert!(!turn.has_no_attempt_left());
        let (note, request) = layout.read(&a, &id(1)).unwrap();
        assert_eq!(
            (note.attempts, &request[..]),
            (attempts + 1, &b"a request"[..])
        );
    }
    assert!(begin_once(dir.path(), false).has_no_attempt_left());
}

#[test]
fn a_job_that_is_put_back_is_counted_once_and_one_that_was_deleted_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (layout, a) = (Layout::new(dir.path()), tenant("a"));
    layout
        .write(&a, &id(1), &note(10, 3), b"a request")
        .unwrap();
    let jobs = open(dir.path());
    for _ in 0..5 {
        let turn = jobs.next().unwrap();
        assert!(!turn.has_no_attempt_left());
        assert!(matches!(jobs.beside(&turn), Beside::Others(_)));
        jobs.count_attempt(&turn, b"a request").unwrap();
        assert_eq!(layout.read(&a, &id(1)).unwrap().0.attempts, 1);
        jobs.put_back(&turn, Duration::ZERO);
    }
    let turn = jobs.next().unwrap();
    jobs.remove(&a, &id(1)).unwrap();
    jobs.count_attempt(&turn, b"a request").unwrap();
    jobs.take_attempts_back();
    assert!(!layout.job(&a, &id(1)).exists());
}

#[test]
fn a_job_that_was_begun_before_is_evaluated_beside_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let a = tenant("a");
    let began = Note {
        attempts: 1,
        ..note(10, 3)
    };
    for (number, note) in [(1, &began), (2, &note(20, 3)), (3, &note(30, 3))] {
        let layout = Layout::new(dir.path());
        layout.write(&a, &id(number), note, b"a request").unwrap();
    }
    let jobs = open(dir.path());
    let [suspect, one, other] = [(); 3].map(|()| jobs.next().unwrap());
    let both = (jobs.beside(&one), jobs.beside(&other));
    assert!(jobs.beside.try_write().is_none());
    drop(both);
    let alone = jobs.beside(&suspect);
    assert!(jobs.beside.try_read().is_none());
    drop(alone);
    assert!(jobs.beside.try_write().is_some());
}
