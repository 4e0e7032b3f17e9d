package main

import (
	_ "embed" // the words in Chinese
	"strings"

	"github.com/goccy/go-yaml"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

//go:embed words.yaml
var wordsFile []byte

var chineseWords = func() map[string]string {
	known := map[string]string{}
	if err := yaml.UnmarshalWithOptions(wordsFile, &known, yaml.Strict()); err != nil {
		panic("words.yaml: " + err.Error())
	}
	return known
}()

// word is a word of the interface, such as a state or a role, as the person reads it. One that is not known stays as it is.
func word[T ~string](t *terminal, w T) string {
	if chinese, known := chineseWords[string(w)]; known && t.lang == problem.Chinese {
		return chinese
	}
	return string(w)
}

// roleWords lists roles as the person reads them.
func roleWords(t *terminal, roles []client.Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = word(t, r)
	}
	between := ", "
	if t.lang == problem.Chinese {
		between = "、"
	}
	return strings.Join(words, between)
}
