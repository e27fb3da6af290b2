use super::*;

/// In one process the lock of one open file still stands against that of another.
fn pair() -> (tempfile::TempDir, PidFile, PidFile) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.pid");
    (dir, PidFile::at(path.clone()), PidFile::at(path))
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_first_master_takes_it_and_a_second_is_refused() {
    let (dir, mut first, mut second) = pair();
    first.check().unwrap();
    assert_eq!(names(&dir), [""; 0], "a check leaves nothing");
    first.reserve().unwrap();
    assert_eq!(names(&dir), ["app.pid.new"]);
    let error = second.reserve().unwrap_err().to_string();
    assert!(error.contains("is held by a running master"), "{error}");
    first.take_first().unwrap();
    assert_eq!(names(&dir), ["app.pid"]);
    assert_eq!(fs::read_to_string(dir.path().join("app.pid")).unwrap(), format!("{}\n", process::pid()));
    let error = second.check().unwrap_err().to_string();
    assert!(error.ends_with(&format!("is held by a running master (pid {})", process::pid())), "{error}");
    assert!(second.take_first().is_err());
    assert_eq!(names(&dir), ["app.pid"]);
    first.remove();
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn what_is_no_pid_file_is_left_alone() {
    let (dir, file, _) = pair();
    let path = dir.path().join("app.pid");
    fs::write(&path, "my data\n").unwrap();
    let error = file.check().unwrap_err().to_string();
    assert!(error.ends_with("what is there is no pid file; remove it or choose another path"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(file.check(), Err(PidFileError::NotOurs { .. })));
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(matches!(file.check(), Err(PidFileError::NotOurs { .. })));
    assert_eq!(names(&dir), ["app.pid"]);
}

#[test]
fn a_file_that_nobody_holds_is_replaced() {
    let (dir, mut first, _) = pair();
    fs::write(dir.path().join("app.pid"), "1\n").unwrap();
    fs::write(dir.path().join("app.pid.new"), "99999999\n").unwrap();
    first.check().unwrap();
    first.take_first().unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("app.pid")).unwrap(), format!("{}\n", process::pid()));
    assert_eq!(names(&dir), ["app.pid"]);
}

#[test]
fn a_successor_takes_over_and_each_removes_its_own() {
    let (dir, mut old, mut new) = pair();
    old.take_first().unwrap();
    new.prepare().unwrap();
    new.release();
    assert_eq!(names(&dir), ["app.pid"], "a successor that goes before the commit leaves nothing");
    new.prepare().unwrap();
    new.take_over().unwrap();
    assert_eq!(names(&dir), ["app.pid", "app.pid.oldbin"]);
    assert!(new.is_ours(&new.path) && old.is_ours(&old.old_name()));
    old.remove();
    assert_eq!(names(&dir), ["app.pid"]);
    new.remove();
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_predecessor_takes_back() {
    let (dir, mut old, mut new) = pair();
    old.take_first().unwrap();
    new.take_over().unwrap();
    old.take_back().unwrap();
    assert_eq!(names(&dir), ["app.pid"]);
    assert!(old.is_ours(&old.path));
    new.remove();
    assert_eq!(names(&dir), ["app.pid"], "the file is not the dead successor's any more");
    old.take_back().unwrap();
    fs::remove_file(dir.path().join("app.pid")).unwrap();
    old.take_back().unwrap();
    assert_eq!(names(&dir), ["app.pid"], "made anew where somebody removed it");
    old.remove();
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn with_two_predecessors_the_second_name_is_the_newer_ones() {
    let (dir, mut first, mut second) = pair();
    let mut third = PidFile::at(first.path.clone());
    first.take_first().unwrap();
    second.take_over().unwrap();
    third.take_over().unwrap();
    assert!(second.is_ours(&second.old_name()));
    first.remove();
    assert_eq!(names(&dir), ["app.pid", "app.pid.oldbin"]);
}

#[test]
fn an_heir_leaves_no_second_name_of_a_dead_master() {
    let (dir, _, mut heir) = pair();
    fs::write(dir.path().join("app.pid"), "1\n").unwrap();
    heir.take_over().unwrap();
    assert_eq!(names(&dir), ["app.pid"]);
}

#[test]
fn a_folder_that_is_not_there_is_said_at_start() {
    let file = PidFile::at(PathBuf::from("/nonexistent/app.pid"));
    assert_eq!(file.check().unwrap_err().to_string(), "cannot write pid file /nonexistent/app.pid");
}
