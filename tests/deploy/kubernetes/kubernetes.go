// What the tests of deploy/ need of Kubernetes, in one program:
//
//	kubernetes kustomize DIR   prints what kustomize makes of DIR
//	kubernetes decode FILE...  checks every object of YAML files against the
//	                           types of the API, and prints them as JSON
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/validation"
	decoder "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The kinds that deploy/ may use: others are refused until they stand here.
func scheme() (*runtime.Scheme, error) {
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, core.AddToScheme, networking.AddToScheme,
		policy.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(types); err != nil {
			return nil, err
		}
	}
	return types, nil
}

func kustomize(dir string) error {
	options := krusty.MakeDefaultOptions()
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return err
	}
	text, err := built.AsYaml()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

// A chart leaves such documents where a template is switched off.
func onlyComments(document []byte) bool {
	for _, line := range bytes.Split(document, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

// What the API server says of names and labels; types don't.
func checkNames(object runtime.Object) error {
	named, ok := object.(meta.Object)
	if !ok {
		return fmt.Errorf("it has no metadata")
	}
	problems := validation.IsDNS1123Label(named.GetName())
	for key, value := range named.GetLabels() {
		problems = append(problems, validation.IsQualifiedName(key)...)
		problems = append(problems, validation.IsValidLabelValue(value)...)
	}
	for key := range named.GetAnnotations() {
		problems = append(problems, validation.IsQualifiedName(key)...)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s: %s", named.GetName(), strings.Join(problems, "; "))
	}
	return nil
}

// Strict: unknown and repeated fields are errors, not only wrong types.
func decode(path string, types *runtime.Scheme) ([]runtime.Object, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	strict := serializer.NewSerializerWithOptions(
		serializer.DefaultMetaFactory, types, types,
		serializer.SerializerOptions{Yaml: true, Strict: true})
	reader := decoder.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var objects []runtime.Object
	for n := 1; ; n++ {
		document, err := reader.Read()
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if onlyComments(document) {
			continue
		}
		object, kind, err := strict.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", path, n, err)
		}
		if err := checkNames(object); err != nil {
			return nil, fmt.Errorf("%s: document %d: %s: %w", path, n, kind, err)
		}
		objects = append(objects, object)
	}
}

func decodeAll(paths []string) error {
	types, err := scheme()
	if err != nil {
		return err
	}
	objects := []runtime.Object{}
	for _, path := range paths {
		found, err := decode(path, types)
		if err != nil {
			return err
		}
		objects = append(objects, found...)
	}
	return json.NewEncoder(os.Stdout).Encode(objects)
}

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "kustomize":
		err = kustomize(os.Args[2])
	case len(os.Args) >= 3 && os.Args[1] == "decode":
		err = decodeAll(os.Args[2:])
	default:
		err = fmt.Errorf("usage: kubernetes kustomize DIR | decode FILE...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
