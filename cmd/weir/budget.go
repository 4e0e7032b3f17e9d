package main

import (
	"context"
	"strconv"
	"time"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

type budgetCommand struct {
	List budgetListCommand `cmd:"" help:"What noised answers have cost each domain, and what is left."`
	Show budgetShowCommand `cmd:"" help:"The account of one domain, with the operators' parts."`
	Set  budgetSetCommand  `cmd:"" help:"Decide what may still be spent of a domain. Allowing more than is left is possible once a year."`
}

type budgetListCommand struct {
	Operator string `placeholder:"NAME" help:"Only this operator's part; all that you may see when left out."`
	Format   string `enum:"table,json" default:"table" help:"How the result is printed: table or json."`
}

// Run lists the accounts.
func (b *budgetListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	list, err := budgets(ctx, t, c, b.Operator)
	if err != nil {
		return err
	}
	if b.Format == "json" {
		return writeJSON(t.out, list)
	}
	shown := table{
		head:    []string{t.text("Domain"), t.text("Left (ρ)"), t.text("Spent ever (ρ)"), t.text("Refills"), t.text("Last refill")},
		numeric: []bool{false, true, true, true, false},
	}
	for _, one := range list.Budgets {
		shown.add(one.Domain, rho(one.Left), rho(one.Spent), whole(one.Refills), refilled(one))
	}
	return shown.write(t.out)
}

type budgetShowCommand struct {
	Domain   string `arg:"" help:"The domain of units, as manifests name it."`
	Operator string `placeholder:"NAME" help:"Only this operator's part; all that you may see when left out."`
}

// Run shows one account.
func (b *budgetShowCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	list, err := budgets(ctx, t, c, b.Operator)
	if err != nil {
		return err
	}
	for _, one := range list.Budgets {
		if one.Domain == b.Domain {
			return printBudget(t, one)
		}
	}
	return problem.New("gateway.no-such-domain")
}

type budgetSetCommand struct {
	Domain string  `arg:"" help:"The domain of units, as manifests name it."`
	Left   float64 `arg:"" help:"What everybody together may still spend, in ρ."`
	Reason string  `required:"" help:"Why; it goes on the log."`
}

// Run sets what may still be spent.
func (b *budgetSetCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	set, err := answer[client.Budget](person.SetBudget(ctx, b.Domain, client.NewBudget{Left: b.Left, Reason: b.Reason}))
	if err != nil {
		return err
	}
	return printBudget(t, set)
}

func budgets(ctx context.Context, t *terminal, c *commands, operator string) (client.BudgetList, error) {
	person, err := c.platform(ctx, t)
	if err != nil {
		return client.BudgetList{}, err
	}
	params := &client.ListBudgetsParams{}
	if operator != "" {
		params.Operator = &operator
	}
	return answer[client.BudgetList](person.ListBudgets(ctx, params))
}

func printBudget(t *terminal, b client.Budget) error {
	t.say("Domain %s: %s ρ left for everybody, %s spent ever", b.Domain, rho(b.Left), rho(b.Spent))
	if b.Refilled != nil {
		t.say("Refilled %d times, last on %s", b.Refills, refilled(b))
	}
	shown := table{
		head:    []string{t.text("Operator"), t.text("Spent since the last refill (ρ)"), t.text("Spent ever (ρ)")},
		numeric: []bool{false, true, true},
	}
	for _, s := range b.Shares {
		shown.add(s.Operator, rho(s.Spent), rho(s.Total))
	}
	return shown.write(t.out)
}

// rho writes an amount with all its digits; it has nine at most.
func rho(amount float64) string { return strconv.FormatFloat(amount, 'f', -1, 64) }

func refilled(b client.Budget) string {
	if b.Refilled == nil {
		return ""
	}
	return b.Refilled.Format(time.DateOnly)
}
