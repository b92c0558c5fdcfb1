//! Several trees side by side in one test: most of a drill is waiting, and the promised bounds are the venue's and the
//! boot clock's, not the test runner's.

/// Runs a case per name, at most `width` at a time; fails naming every case that failed.
pub fn side_by_side<T: Sync>(cases: &[(&str, T)], width: usize, run: impl Fn(&str, &T) + Sync) {
    let mut failed = Vec::new();
    for batch in cases.chunks(width.max(1)) {
        std::thread::scope(|scope| {
            let started: Vec<_> = batch
                .iter()
                .map(|(name, case)| {
                    let run = &run;
                    let thread = std::thread::Builder::new().name((*name).to_owned());
                    (*name, thread.spawn_scoped(scope, move || run(name, case)).expect("a thread"))
                })
                .collect();
            failed.extend(started.into_iter().filter_map(|(name, thread)| thread.join().err().map(|_| name)));
        });
    }
    assert!(failed.is_empty(), "failed: {failed:?} (each said why above)");
}
