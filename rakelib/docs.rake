# frozen_string_literal: true

desc "Write docs/options.md and docs/statistics.md from the tables in the code"
task :docs do
  require_relative "options_page"
  require_relative "statistics_page"
  [OptionsPage, StatisticsPage].each { |page| File.write(page::PATH, page.markdown) }
end
