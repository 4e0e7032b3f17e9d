package policy

import "time"

// VersionState says whether a version of a data set may be used.
type VersionState string

// The states of a version. Only approved ones are ever seen under a grant, and of those the newest.
const (
	VersionWaiting   VersionState = "waiting"   // taken in, and seen under no grant until its declaration was reviewed
	VersionApproved  VersionState = "approved"  // reviewed, or at least as strict as the one that was served when it came
	VersionRefused   VersionState = "refused"   // the reviewers said no; for good
	VersionWithdrawn VersionState = "withdrawn" // its provider or the authority took it back; for good
)

// Version is a version of a data set with what became of its review.
type Version struct {
	Dataset
	State     VersionState
	TakenAt   time.Time
	DecidedAt time.Time   // zero: nobody has decided
	Reason    string      // what who decided wrote
	Weaker    []Weakening // why it waits, by comparison with what is served now
}

// VersionDecision is what a review ended with. It is the one door by which a version's state changes: whatever procedure a
// catalogue reviews by ends with a decision.
type VersionDecision struct {
	Dataset string
	Version int // 0, of a withdrawal alone: every version
	State   VersionState
	Reason  string
}

// MayBecome reports whether a decision can lead from a state to another. Refused and withdrawn are for good.
func (s VersionState) MayBecome(next VersionState) bool {
	switch next {
	case VersionApproved, VersionRefused:
		return s == VersionWaiting
	case VersionWithdrawn:
		return s == VersionWaiting || s == VersionApproved
	}
	return false
}
