package hunt

import (
	"io"

	"weir/export/noised"
	"weir/sandbox"
)

// fault is an old behaviour that is brought back, so that it can be seen that the hunter finds it. The zero value is none.
type fault struct {
	randomOf  func(p *player) io.Reader
	answersOf func(p *player) noised.Answers
	priceOf   func(noised.Price) noised.Price
	refusal   func(p *player, s secret) error
	shown     func(p *player, t sandbox.Table) sandbox.Table
}

func (f fault) random(p *player) io.Reader {
	if f.randomOf == nil {
		return p.record
	}
	return f.randomOf(p)
}

func (f fault) answers(p *player) noised.Answers {
	if f.answersOf == nil {
		return p.record
	}
	return f.answersOf(p)
}

func (f fault) price(p noised.Price) noised.Price {
	if f.priceOf == nil {
		return p
	}
	return f.priceOf(p)
}

func (f fault) refuses(p *player, s secret) error {
	if f.refusal == nil {
		return nil
	}
	return f.refusal(p, s)
}

func (f fault) final(p *player, t sandbox.Table) sandbox.Table {
	if f.shown == nil {
		return t
	}
	return f.shown(p, t)
}
