package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"weir/internal/problem"
)

// evaluationLimit bounds one decision, for rules of a bundle that somebody wrote without thinking of cost.
const evaluationLimit = 5 * time.Second

// facts is the input of one decision, in the types that rego knows.
type facts = map[string]any

// answer is what the rules said, after its form has been checked.
type answer struct {
	allow       bool
	reason      string
	obligations map[string]any
}

// pure is what rules may call: no built-in function whose result can differ between two calls (time, randomness,
// network, environment).
var pure = sync.OnceValue(func() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(all.Builtins, func(b *ast.Builtin) bool { return b.Nondeterministic })
	return all
})

// prepare compiles the rules once. Rules that would ask anything but their input do not compile.
func prepare(ctx context.Context, query string, modules map[string]*ast.Module) (rego.PreparedEvalQuery, error) {
	options := []func(*rego.Rego){
		rego.Query(query), rego.Capabilities(pure()), rego.Strict(true), rego.StrictBuiltinErrors(true),
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		options = append(options, rego.ParsedModule(modules[name]))
	}
	prepared, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return prepared, fmt.Errorf("prepare policy %s: %w", query, err)
	}
	verdict, err := ask(ctx, prepared, facts{})
	if err != nil {
		return prepared, fmt.Errorf("policy %s has no answer to a question without facts: %w", query, err)
	}
	if verdict.allow {
		return prepared, fmt.Errorf("policy %s allows a question without facts", query)
	}
	return prepared, nil
}

// ask evaluates the rules on one person's facts. Whatever is not a plain yes or no is an error, and an error is a
// denial for every caller.
func ask(ctx context.Context, prepared rego.PreparedEvalQuery, input facts) (answer, error) {
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		return answer{}, fmt.Errorf("policy input: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, evaluationLimit)
	defer cancel()
	results, err := prepared.Eval(ctx, rego.EvalParsedInput(value))
	if err != nil {
		return answer{}, fmt.Errorf("evaluate policy: %w", err)
	}
	return read(results)
}

// read takes the decision out of a result set: exactly one document, holding a boolean "allow", and with it either
// a reason or obligations, never both and never anything else.
func read(results rego.ResultSet) (answer, error) {
	if len(results) != 1 || len(results[0].Expressions) != 1 || len(results[0].Bindings) != 0 {
		return answer{}, errors.New("the policy's decision is undefined")
	}
	document, ok := results[0].Expressions[0].Value.(map[string]any)
	if !ok {
		return answer{}, errors.New("the policy's decision is not an object")
	}
	var a answer
	for field, value := range document {
		switch field {
		case "allow":
			a.allow, ok = value.(bool)
		case "reason":
			a.reason, ok = value.(string)
		case "obligations":
			a.obligations, ok = value.(map[string]any)
		default:
			ok = false
		}
		if !ok {
			return answer{}, fmt.Errorf("the policy's decision has no proper %q", field)
		}
	}
	_, answered := document["allow"]
	_, reasoned := document["reason"]
	_, obliged := document["obligations"]
	if !answered || a.allow == reasoned || obliged && !a.allow {
		return answer{}, errors.New("the policy's decision contradicts itself")
	}
	return a, nil
}

// undecided is the denial for want of an answer.
func undecided(cause error) *problem.Problem { return problem.New("policy.undecided").Because(cause) }

// denied turns a reason of the rules into a problem. A bundle may give reasons of its own; one that has no message
// is told as a plain denial and kept for the operation log.
func denied(reason string) *problem.Problem {
	if !slices.Contains(Reasons, reason) {
		return problem.New("policy.denied").Because(fmt.Errorf("policy reason %q", reason))
	}
	return problem.New(reason)
}

// Reasons lists the codes with which the rules deny.
var Reasons = []string{
	"policy.denied", "policy.forbidden", "policy.person-incomplete", "policy.roles-conflict",
	"policy.organisation-capacity", "policy.unknown-grant", "policy.unknown-object", "policy.own-output",
	"policy.account-roles", "policy.account-operator", "policy.own-entry", "policy.not-analyst", "policy.grant-terminated", "policy.grant-suspended",
	"policy.grant-not-yet-valid", "policy.grant-expired", "policy.mode-unavailable", "policy.quota-jobs",
	"policy.quota-cells",
}
