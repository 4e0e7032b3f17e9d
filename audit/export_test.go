package audit

// Undurable lets a log be opened on a database that does not wait for its disk.
func Undurable(o Options) Options { o.undurable = true; return o }
