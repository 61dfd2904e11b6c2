# frozen_string_literal: true

desc "Write docs/{options,statistics}.md, and the tables in docs/{metrics,puma}.md, from the tables in the code"
task :docs do
  require_relative "metrics_table"
  require_relative "options_page"
  require_relative "puma_words_table"
  require_relative "statistics_page"
  [MetricsTable, OptionsPage, PumaWordsTable, StatisticsPage].each { |page| File.write(page::PATH, page.markdown) }
end
