package seal

import "time"

// Hurry gives a program less time.
func Hurry(p *Program, limit time.Duration) { p.limit = limit }
