package sandbox

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"weir/internal/problem"
)

// MaxManifest is the most bytes of a manifest.
const MaxManifest = 64 << 10

// A stranger writes manifests, and the platform's own process reads them. YAML can say in a few hundred bytes what takes
// all of the memory (aliases of aliases), and the parser takes quadratic time for deep nesting. So the text is cut into
// tokens first, which takes time in proportion to its length, and is parsed only if no token can make parsing cost more.
const (
	maxTokens  = 20_000
	maxNesting = 8  // of lists and mappings in each other
	maxIndent  = 64 // columns before the first word of a line, which bounds nesting by indentation
)

// refusedTokens are what a manifest has no use for. Merge keys need an alias; a document has one end.
var refusedTokens = map[token.Type]bool{
	token.AnchorType: true, token.AliasType: true, token.TagType: true, token.MergeKeyType: true, token.MappingKeyType: true,
	token.DirectiveType: true, token.DocumentHeaderType: true, token.DocumentEndType: true,
	token.InvalidType: true, token.UnknownType: false,
}

// Heading is what must be known of a manifest before it is read in earnest.
type Heading struct {
	Name     string `yaml:"name"`
	Provider string `yaml:"provider"`
	File     string `yaml:"file"`
	Frame    string `yaml:"frame"`
}

// ReadHeading reads the heading of a manifest that a stranger wrote, within the bounds of every manifest. An error holds
// nothing but where the fault is.
func ReadHeading(manifest []byte) (Heading, error) {
	var head Heading
	return head, decodeYAML(manifest, &head)
}

// yamlFault is text that is not read, with the place where it went wrong.
type yamlFault struct {
	at  problem.Position
	why string
}

func (f *yamlFault) Error() string { return fmt.Sprintf("line %d: %s", f.at.Line, f.why) }

// decodeYAML reads bounded YAML into a value. What is wrong is a *yamlFault, which quotes nothing of the text.
func decodeYAML(text []byte, into any, options ...yaml.DecodeOption) error {
	if len(text) > MaxManifest {
		return &yamlFault{why: fmt.Sprintf("more than %d bytes", MaxManifest)}
	}
	if fault := checkTokens(lexer.Tokenize(string(text))); fault != nil {
		return fault
	}
	if err := yaml.UnmarshalWithOptions(text, into, options...); err != nil {
		return parserFault(err)
	}
	return nil
}

// parserFault keeps the place of a parser's error and drops its text, which quotes what was sent.
func parserFault(err error) *yamlFault {
	found := &yamlFault{why: "no YAML, or a word that does not belong here"}
	var fault yaml.Error
	if errors.As(err, &fault) && fault.GetToken() != nil {
		found.at = position(fault.GetToken())
	}
	return found
}

func checkTokens(tokens token.Tokens) *yamlFault {
	if len(tokens) > maxTokens {
		return &yamlFault{why: fmt.Sprintf("more than %d words", maxTokens)}
	}
	brackets, dashes, line := 0, 0, 0
	for _, t := range tokens {
		at := position(t)
		if refusedTokens[t.Type] {
			return &yamlFault{at, "an anchor, alias, tag, directive or second document"}
		}
		if at.Line != line {
			if line = at.Line; brackets == 0 && at.Column > maxIndent {
				return &yamlFault{at, fmt.Sprintf("indented by more than %d columns", maxIndent)}
			}
			dashes = 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType:
			dashes++
		}
		if brackets < 0 || brackets > maxNesting || dashes > maxNesting {
			return &yamlFault{at, fmt.Sprintf("nested more than %d deep", maxNesting)}
		}
	}
	return nil
}

func position(t *token.Token) problem.Position {
	if t.Position == nil {
		return problem.Position{}
	}
	return problem.Position{Line: t.Position.Line, Column: t.Position.Column}
}
