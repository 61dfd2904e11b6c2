# frozen_string_literal: true

# A Markov chain over a text of our own, in place of a language model. It chooses each word among the words that follow the
# last three words somewhere in the text. The same question always gets the same answer.
class Markov
  # The least number of words in an answer. An answer ends at the end of a sentence.
  WORDS = 60

  def initialize(text)
    @sentences = text.split(/(?<=[.?!])\s+/).map(&:split)
    @followers = Hash.new { |all, pair| all[pair] = [] }
    @sentences.each { |words| words.each_cons(4) { |*pair, word| @followers[pair] << word } }
  end

  # @return [Enumerator] the words of an answer. Each sentence is made when its first word is needed
  def answer(question)
    random = Random.new(question.sum(32))
    about = sentences_about(question)
    Enumerator.new do |answer|
      count = 0
      while count < WORDS
        words = sentence(about.sample(random: random), random)
        words.each { |word| answer << word }
        count += words.size
        about = @sentences
      end
    end
  end

  private

  # The sentences that have a word of four or more letters in common with the question; if there are none, all sentences.
  def sentences_about(question)
    asked = question.downcase.scan(/\p{Alpha}{4,}/)
    found = @sentences.select { |words| words.join(" ").downcase.scan(/\p{Alpha}{4,}/).intersect?(asked) }
    found.empty? ? @sentences : found
  end

  # A new sentence, with the same first three words as `like`.
  def sentence(like, random)
    words = like.first(3)
    while (followers = @followers.fetch(words.last(3), nil))
      words << followers.sample(random: random)
    end
    words
  end
end
