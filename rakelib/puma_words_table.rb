# frozen_string_literal: true

require "push_server/config/configuration"

# The table of Puma's words in docs/puma.md, made from lib/push_server/config/puma_words.rb.
module PumaWordsTable
  PATH = File.expand_path("../docs/puma.md", __dir__)
  PLACE = /(?<=<!-- words -->\n).*(?=<!-- \/words -->)/m

  module_function

  # The page with the table as it is now.
  def markdown = File.read(PATH).sub(PLACE) { table }

  def table
    rows = [*same, *renamed, *hooks, *ignored, *refused, *plugins].sort_by { |word, _| word.to_s }
    "| Puma | push_server |\n|---|---|\n#{rows.map { |word, text| "| `#{word}` | #{text.gsub("|", "\\|")} |\n" }.join}"
  end

  def same = words::SAME.map { |word, text| [word, ["the same", text].compact.join(": ")] }
  def renamed = words::RENAMED.map { |word, option| [word, "taken as `#{option}`"] }
  def ignored = words::IGNORED.map { |word, reason| [word, "not needed: #{reason}"] }
  def refused = words::REFUSED.map { |word, advice| [word, "an error: #{advice}"] }

  def plugins
    [*words::PLUGINS.map { |name, advice| ["plugin :#{name}", "not needed: #{advice}"] }, ["plugin", "others are an error"]]
  end

  def hooks
    PushServer::Hooks::ALIASES.map { |word, name| [word, "taken as `#{name}`"] } +
      PushServer::Hooks::NAMES.map { |name| [name, "the same"] }
  end

  def words = PushServer::PumaWords
end
