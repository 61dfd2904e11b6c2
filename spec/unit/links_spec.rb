# frozen_string_literal: true

require_relative "unit_helper"

# The links between the pages of the project. GitHub, YARD and the gem show the same files, so links are relative.
RSpec.describe "Links" do
  root = File.expand_path("../..", __dir__)
  pages = %w[*.md docs/*.md bench/*.md spec/*.md .github/*.md].flat_map { |glob| Dir.glob(glob, base: root) }.sort

  # The text of a page without its blocks of code.
  prose = ->(page) { File.read(File.join(root, page)).gsub(/^```.*?^```$/m, "") }

  # The anchors that GitHub makes of a page's headings.
  anchors = Hash.new do |known, page|
    names = prose[page].scan(/^\#{1,6} (.+)$/).flatten.map do |heading|
      heading.downcase.gsub(/[^\p{Word}\- ]/, "").tr(" ", "-")
    end
    known[page] = names.each_with_index.map do |name, index|
      before = names[0...index].count(name)
      before.zero? ? name : "#{name}-#{before}"
    end
  end

  links = pages.flat_map do |page|
    # `]` inside of code is not the end of a link's text.
    text = prose[page].gsub(/`[^`\n]*`/) { |code| code.delete("[]") }
    targets = text.scan(/\]\(([^)\s]+)\)/).flatten.reject { |target| target.match?(/\A(?:https?|mailto):/) }
    targets.uniq.map { |target| [page, target] }
  end

  it "finds links" do
    expect(links.size).to be > 50
  end

  links.each do |page, target|
    it "leads from #{page} to #{target}" do
      path, anchor = target.split("#", 2)
      file = path.empty? ? page : File.join(File.dirname(page), path).delete_prefix("./")
      expect(File).to exist(File.join(root, file))
      expect(anchors[file]).to include(anchor) if anchor
    end
  end

  # Errors, comments and the change log name pages by their path.
  sources = %w[CHANGELOG.md lib/**/*.rb lib/**/*.js src/**/*.rs ext/**/*.rs rakelib/* spec/**/*.rb bin/*]
  named = sources.flat_map { |glob| Dir.glob(glob, base: root) }.reject { |path| path.include?("node_modules") }.flat_map do |path|
    file = File.join(root, path)
    File.file?(file) ? File.read(file, encoding: "BINARY").scan(%r{\bdocs/\w+\.md\b}).map { |page| [path, page] } : []
  end

  it "names in code only pages that exist" do
    expect(named).not_to be_empty
    expect(named.uniq.reject { |_path, page| File.exist?(File.join(root, page)) }).to be_empty
  end
end
